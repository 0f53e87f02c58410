package stats

// Tail is how often, at most, all the looks of one comparison together call
// two sides whose ratio is exactly at the tolerance slower; and, apart from
// that, how often they call it fast enough. A slowdown below the tolerance, and
// none at all, is called a regression more seldom still.
const Tail = 0.025

// Least is how many runs a side the first look needs. With fewer, nothing is
// decided.
const Least = 5

// sizes are the runs a side at which a comparison may be looked at.
var sizes = []int{Least, 8, 12}

// Look is one look at the runs gathered until then.
type Look struct {
	Runs int     // a side
	Tail float64 // with which each bound of its interval may err
}

// Looks returns the looks of a comparison that gathers at most so many runs a
// side, and false if that is not one of the sizes.
//
// Each look spends of Tail in proportion to the runs that it adds: of 12, the
// first 5 spend 5/12, the next 3 spend 3/12, the last 4 the rest. The parts add
// up to Tail, so that the looks together err no more often than that whatever
// the looks have to do with each other, which is a bound that asks for no
// approximation at five runs.
func Looks(most int) ([]Look, bool) {
	var looks []Look
	before := 0
	for _, runs := range sizes {
		looks = append(looks, Look{runs, Tail * float64(runs-before) / float64(most)})
		if runs == most {
			return looks, true
		}
		before = runs
	}
	return nil, false
}

// LookAt returns the look that runs gathered so far allow in a comparison that
// may grow: the last of the sizes that they reach. Fewer than Least are given the
// first look, which they must not take.
func LookAt(runs int) Look {
	looks, _ := Looks(sizes[len(sizes)-1])
	at := looks[0]
	for _, l := range looks {
		if l.Runs <= runs {
			at = l
		}
	}
	return at
}

// Once returns the one look of a comparison whose number of runs was settled
// before any of them was seen.
func Once(runs int) Look { return Look{runs, Tail} }

// Sizes returns the runs a side at which a comparison may be looked at.
func Sizes() []int { return append([]int(nil), sizes...) }
