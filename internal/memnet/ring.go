package memnet

import (
	"math/bits"
	"sync"
)

const (
	minBlock = 512
	maxBlock = 64 << 10
)

// blocks keeps the memory of rings, 512 bytes to 64 KiB in powers of two, so that
// a ring can give it back whenever it is empty. It is a cache of memory without
// content and the package's only variable state.
var blocks [8]sync.Pool

// A block is memory of a power of two of bytes.
type block struct{ data []byte }

// takeBlock returns a block of at least n bytes, which are at most maxBlock.
func takeBlock(n int) *block {
	class := blockClass(n)
	if b, ok := blocks[class].Get().(*block); ok {
		return b
	}
	return &block{data: make([]byte, minBlock<<class)}
}

// giveBlock takes b back.
func giveBlock(b *block) { blocks[blockClass(len(b.data))].Put(b) }

// blockClass returns the place in blocks of those that hold n bytes.
func blockClass(n int) int { return bits.Len(uint(n-1) / minBlock) }

// A ring is a queue of bytes that grows up to maxBlock and holds no memory while
// it is empty.
type ring struct {
	block *block // nil if n is 0
	start uint32 // of the first byte
	n     uint32 // bytes queued
}

// write queues as much of p as there is room for and returns how much that was.
func (r *ring) write(p []byte) int {
	p = p[:min(len(p), maxBlock-int(r.n))]
	if len(p) == 0 {
		return 0
	}
	r.grow(int(r.n) + len(p))
	data := r.block.data
	end := int(r.start+r.n) & (len(data) - 1)
	k := copy(data[end:], p)
	copy(data, p[k:])
	r.n += uint32(len(p))
	return len(p)
}

// read takes up to len(p) bytes off the queue, which is not empty, and returns how
// many.
func (r *ring) read(p []byte) int {
	p = p[:min(len(p), int(r.n))]
	r.peek(p)
	r.n -= uint32(len(p))
	r.start = (r.start + uint32(len(p))) & uint32(len(r.block.data)-1)
	if r.n == 0 {
		r.drop()
	}
	return len(p)
}

// peek copies the first len(p) bytes of the queue, which has as many.
func (r *ring) peek(p []byte) {
	k := copy(p, r.block.data[r.start:])
	copy(p[k:], r.block.data)
}

// grow makes room for size bytes in all.
func (r *ring) grow(size int) {
	if r.block != nil && size <= len(r.block.data) {
		return
	}
	b := takeBlock(size)
	if r.block != nil {
		r.peek(b.data[:r.n])
		giveBlock(r.block)
	}
	r.block, r.start = b, 0
}

// drop forgets what is queued and gives the memory back.
func (r *ring) drop() {
	if r.block != nil {
		giveBlock(r.block)
	}
	*r = ring{}
}
