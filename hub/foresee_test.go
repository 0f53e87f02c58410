package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"muster/hub"
	"muster/hub/hubtest"
)

// TestCommonTagsAreForeseen wants the tags that most devices have to be indexed as they are registered, and queries to find by
// them what they find without.
func TestCommonTagsAreForeseen(t *testing.T) {
	check := func(name string, want int, tags func(i int) string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
				hub.IndexFrom(s.Hub, 32)
				hub.ForeseeFrom(s.Hub, 32)
				registerMany(t, s, 100, tags)
				synctest.Wait()
				if n, _ := hub.IndexSize(s.Hub); n != want {
					t.Errorf("%d tags are indexed, want %d", n, want)
				}
				sameRows(t, s, "devices", "tags.site = 'site-3'", 7)
				sameRows(t, s, "devices", "tags.rare = true", 7)
			})
		})
	}
	check("all the same", 5, benchTags)
	check("no tags", 0, func(int) string { return `{}` })
	check("what half of them have", 1, func(i int) string { return fmt.Sprintf(`{"site":"site-%d","t%d":1}`, i%10, i) })
	check("what few have", 0, func(i int) string { return fmt.Sprintf(`{"t%d":1}`, i%3) })
	check("objects, arrays and nulls", 1, func(i int) string { return fmt.Sprintf(`{"o":{"a":1},"l":[1],"z":null,"site":"site-%d"}`, i%10) })
	check("more than there is room for", 8, func(i int) string {
		return `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1}`
	})
}
