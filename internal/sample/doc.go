// Package sample is what a run emits and a report reads: the records, the
// clock that their moments are taken from, and their codec on disk.
//
// A run appends records to DIR/samples/records while it goes. The file is a
// magic line followed by blocks, each a length, a CRC-32C and a payload of
// whole records, so that a run that is killed loses what it had not flushed
// and nothing else: the reader stops at a torn last block and says so.
//
// # Concurrency
//
// A Writer is safe for concurrent use. Records of one device keep their order;
// between devices there is none. Clock is safe for concurrent use; a Reader
// belongs to one goroutine.
package sample
