package sample

import (
	"encoding/binary"
	"hash/crc32"
)

// Seal returns payload as the one block of a samples file, of the first version
// of the format or of the present one.
func Seal(payload []byte, first bool) []byte {
	head := magic
	if first {
		head = magicFirst
	}
	file := binary.LittleEndian.AppendUint32([]byte(head), uint32(len(payload)))
	file = binary.LittleEndian.AppendUint32(file, crc32.Checksum(payload, castagnoli))
	return append(file, payload...)
}

// AppendColumn writes a column of values behind dst.
func AppendColumn(dst []byte, values []int64) []byte { return appendColumn(dst, values) }

// ReadColumn reads a column of n values and tells how many bytes are left.
func ReadColumn(src []byte, n int) (values []int64, rest int, ok bool) {
	c := coder{buf: src, reading: true}
	values = make([]int64, n)
	c.column(values)
	return values, len(c.buf), c.err == nil
}
