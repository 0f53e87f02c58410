package template_test

import (
	"fmt"

	"muster/internal/template"
)

func ExampleParse() {
	t, err := template.Parse("door-{index:05d}")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Text(template.Vars{Index: 43}))
	// Output:
	// door-00043
}

func ExampleParseTree() {
	tags, err := template.ParseTree(map[string]any{
		"site":     "north",
		"building": "{index % 50}",
		"label":    "{group}/{index / 50}",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", tags.AppendJSON(nil, template.Vars{Index: 143, Group: "doors"}))
	// Output:
	// {"building":43,"label":"doors/2","site":"north"}
}

func ExampleParseTree_faults() {
	_, err := template.ParseTree(map[string]any{
		"floor":  "{index % 0}",
		"places": []any{"{indx}"},
	})
	fmt.Println(err)
	// Output:
	// floor: column 10: division by zero
	// places[0]: column 2: no indx: there are index, group, random(n) and pick('a', 'b')
}
