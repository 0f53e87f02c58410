package cli

import (
	"context"

	"github.com/spf13/cobra"

	"muster/scenarios"
)

func newSchema(stdio Stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the scenario file",
		Long: `Print the JSON Schema (draft 2020-12) of the scenario file, for editors and other tools:

    muster schema > scenario.schema.json

and as the first line of a scenario, for editors with the YAML language server:

    # yaml-language-server: $schema=./scenario.schema.json

A schema cannot tell everything: muster validate knows more.`,
		Args: cobra.NoArgs,
		RunE: action(func(context.Context, []string) error {
			_, err := stdio.Out.Write(scenarios.Schema())
			return err
		}),
	}
}
