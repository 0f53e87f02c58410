package scenarios

import "maps"

// Meanings returns the paths that the schema has a text for.
func Meanings() []string {
	var paths []string
	for path := range maps.Keys(meanings) {
		paths = append(paths, path)
	}
	return paths
}
