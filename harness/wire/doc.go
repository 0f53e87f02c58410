// Package wire is how a run and its child generators speak: frames over a pair
// of pipes, and in them what happens to devices, many events a frame.
//
// Either side may be of this build alone: the first frame of each says which
// Version it speaks. What comes is checked for its bounds, so that a broken peer
// is an error and costs no more memory than a frame.
//
// # Concurrency
//
// An Encoder, a Decoder and a Reader each belong to one goroutine at a time.
package wire
