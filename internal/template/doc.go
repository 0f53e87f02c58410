// Package template is the small language in which a scenario says how one
// device differs from the next: texts such as door-{index:05d} and whole trees
// of them, evaluated for a device from its index and the seed of the run.
//
// # Language
//
// A template is text with expressions in braces; {{ and }} are braces
// themselves. An expression is made of
//
//   - integers, + - * / %, a minus sign and parentheses, as in Go: 64 bits that
//     wrap around, / rounds towards zero, % takes the sign of its left side;
//   - index, the device's index, and group, the name of its group;
//   - random(n), one of the integers 0 … n-1;
//   - pick('a', 'b', …), one of the constants given: strings in either kind of
//     quotes with the escapes \' \" and \\, numbers, true and false.
//
// Dividing by zero and random of less than one are errors where they can be
// seen beforehand; where they depend on the device the result is 0.
//
// After a colon may stand a verb of package fmt with its flags (+ - # 0), width
// and precision, up to 99 each: {index:05d}, {index:x}, {group:-10s}. Integers
// take d x X o b, decimals f e g, strings s q, booleans t, and all of them v.
//
// A template that is one expression alone, with no format and nothing around
// it, keeps the expression's type: "{index % 50}" is a number.
//
// # Choices
//
// random and pick are functions of the seed, the device's index and the place
// of the template; nothing is remembered between calls, so that any machine
// can make any device. Places are told apart by FNV-1a (64 bits) over the path
// of the template in its tree, each step followed by a zero byte, plus the
// number of the choice within the template. Starting from 0, the seed, the
// index and the place are folded in one after the other by exclusive or and
// the output function of SplitMix64. The 64 bits that come of it are scaled to
// the range by the upper half of a product. Adding an entry to a tree
// therefore changes no other entry; and two trees with one seed make the same
// choices at the same paths.
package template
