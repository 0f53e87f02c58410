package template

import (
	"math/bits"
	"strconv"
)

// env is what an expression is evaluated in.
type env struct {
	vars  Vars
	place uint64 // of the template in its tree
}

// choose returns one of the numbers 0 … n-1, n at least 1: always the same for
// one seed, index, place and number of the choice within its template. How is
// promised in the package comment: a saved seed must give the same fleet in
// every later version.
func (e env) choose(number uint64, n uint64) uint64 {
	h := fold(0, e.vars.Seed)
	h = fold(h, uint64(e.vars.Index))
	h = fold(h, e.place+number)
	index, _ := bits.Mul64(h, n) // the bias, below n in 2^64, is of no matter here
	return index
}

// fold mixes x into h. For a given h no two x give the same result.
func fold(h, x uint64) uint64 {
	// SplitMix64: the state's step, then its output function.
	z := (h ^ x) + 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// root is the place of a tree's root, and of a template that is in no tree:
// the offset basis of FNV-1a.
const root uint64 = 14695981039346656037

// step returns the place below place that is called name.
func step(place uint64, name string) uint64 {
	const prime = 1099511628211
	for i := range len(name) {
		place = (place ^ uint64(name[i])) * prime
	}
	return place * prime // the zero byte at the end
}

// item returns the place of an array's element.
func item(place uint64, i int) uint64 { return step(place, strconv.Itoa(i)) }
