package query_test

import (
	"errors"
	"fmt"

	"muster/internal/query"
)

// twin is a row over a document.
type twin string

func (t twin) Value(path []string) query.Value { return query.Lookup([]byte(t), path) }

func ExampleParseCondition() {
	c, err := query.ParseCondition(`tags.site = "north" and not (tags.[[group]] in [1, 2])`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c)
	fmt.Println(c.Match(twin(`{"deviceId": "door-1", "tags": {"site": "north", "group": 3}}`)))
	fmt.Println(c.Match(twin(`{"deviceId": "door-2", "tags": {"site": "north"}}`)))
	// Output:
	// tags.site = 'north' AND NOT tags.[[group]] IN [1, 2]
	// true
	// false
}

func ExampleQuery_Groups() {
	q, err := query.Parse("select tags.site, count() as doors from devices where tags.floor > 1 group by tags.site")
	if err != nil {
		fmt.Println(err)
		return
	}
	groups := q.Groups(nil, 100)
	for _, row := range []twin{`{"tags": {"site": "north", "floor": 2}}`, `{"tags": {"site": "east", "floor": 3}}`, `{"tags": {"site": "north", "floor": 4}}`} {
		if q.Where.Match(row) {
			groups.Add(row)
		}
	}
	for _, group := range groups.Rows() {
		fmt.Printf("%s\n", group.Append(nil))
	}
	// Output:
	// {"site":"east","doors":1}
	// {"site":"north","doors":2}
}

func ExampleSyntaxError_Caret() {
	_, err := query.ParseCondition("tags.site == 'north'")
	fmt.Println(err)
	if syntax, ok := errors.AsType[*query.SyntaxError](err); ok {
		fmt.Println(syntax.Caret())
	}
	// Output:
	// column 11: no operator ==: write =
	// tags.site == 'north'
	//           ^
}
