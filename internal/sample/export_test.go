package sample

import (
	"encoding/binary"
	"hash/crc32"
)

// Seal returns payload as the one block of a samples file.
func Seal(payload []byte) []byte {
	file := binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(payload)))
	file = binary.LittleEndian.AppendUint32(file, crc32.Checksum(payload, castagnoli))
	return append(file, payload...)
}
