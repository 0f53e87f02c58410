package scenarios

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.yaml
var shipped embed.FS

// Shipped returns the scenarios that come with muster, each in a file named
// NAME.yaml.
func Shipped() fs.FS { return shipped }

// ShippedNames returns the names of the shipped scenarios, sorted and without
// the file names' endings.
func ShippedNames() []string {
	files, err := fs.Glob(shipped, "*.yaml")
	if err != nil {
		panic("scenarios: ShippedNames: " + err.Error())
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, ".yaml")
	}
	return files
}
