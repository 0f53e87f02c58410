// Package sample is what a run emits and a report reads: the records, the
// clock that their moments are taken from, and their codec on disk.
//
// A run appends records to DIR/samples/records while it goes. The file is a
// magic line followed by blocks, each a length, a CRC-32C and a payload, so
// that a run that is killed loses what it had not flushed and nothing else: the
// reader stops at a torn last block and says so.
//
// The first byte of a payload says of which kind its records are. Devices,
// connects and executions, of which a run has very many, are in tables, a
// column a field: see table and column. Blocks of the other kinds have rows:
// each record a byte for its kind, and its fields one after the other. The
// first version of the format, which had rows only, is still read.
//
// # Concurrency
//
// A Writer is safe for concurrent use. Records of one kind and device keep
// their order; between kinds and between devices there is none. Clock is safe
// for concurrent use; a Reader belongs to one goroutine.
package sample
