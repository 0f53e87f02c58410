package hub

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// manyFrom is from how many places on a posting is a bitmap: below that, a bitmap of places far apart is several times as
// large as their list.
const manyFrom = 512

// posting is the places, in the order of registration, of the devices with one value. It is not safe for concurrent use.
type posting struct {
	few  []uint32 // ascending; nil once there are many
	many *roaring.Bitmap
}

func (p *posting) len() int {
	if p.many != nil {
		return int(p.many.GetCardinality())
	}
	return len(p.few)
}

// add takes a place in, which may be there already.
func (p *posting) add(seq uint32) {
	if p.many != nil {
		p.many.Add(seq)
		return
	}
	i, found := slices.BinarySearch(p.few, seq)
	if found {
		return
	}
	if p.few = slices.Insert(p.few, i, seq); len(p.few) >= manyFrom {
		p.few, p.many = nil, roaring.BitmapOf(p.few...)
	}
}

// remove takes a place out, which need not be there.
func (p *posting) remove(seq uint32) {
	if p.many != nil {
		p.many.Remove(seq)
		return
	}
	if i, found := slices.BinarySearch(p.few, seq); found {
		p.few = slices.Delete(p.few, i, i+1)
	}
}

// appendAfter appends the first places after one, at most that many.
func (p *posting) appendAfter(dst []uint32, seq uint32, most int) []uint32 {
	if p.many == nil {
		i, found := slices.BinarySearch(p.few, seq)
		if found {
			i++
		}
		return append(dst, p.few[i:min(i+most, len(p.few))]...)
	}
	it := p.many.Iterator()
	for it.AdvanceIfNeeded(seq); most > 0 && it.HasNext(); {
		if next := it.Next(); next > seq {
			dst = append(dst, next)
			most--
		}
	}
	return dst
}
