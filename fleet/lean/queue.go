package lean

import "sync"

// queue holds tasks, first in, first out. Its memory is for as many as it holds.
type queue struct {
	first, last *stretch // one that is empty stays; nil: there was no task yet
	from, to    int      // the first task's place in first, and that behind the last one's in last
}

// stretch is a part of a queue, of 4 KB.
type stretch struct {
	tasks [255]task
	next  *stretch
}

// stretches is a cache of memory without content.
var stretches = sync.Pool{New: func() any { return new(stretch) }}

func (q *queue) empty() bool { return q.first == q.last && q.from == q.to }

func (q *queue) push(t task) {
	if q.last == nil || q.to == len(q.last.tasks) {
		q.extend()
	}
	q.last.tasks[q.to] = t
	q.to++
}

func (q *queue) extend() {
	s := stretches.Get().(*stretch)
	if q.last == nil {
		q.first = s
	} else {
		q.last.next = s
	}
	q.last, q.to = s, 0
}

// pop returns nil if the queue is empty.
func (q *queue) pop() task {
	if q.empty() {
		return nil
	}
	s := q.first
	t := s.tasks[q.from]
	s.tasks[q.from] = nil
	q.from++
	switch {
	case q.empty():
		q.from, q.to = 0, 0
	case q.from == len(s.tasks):
		q.first, q.from, s.next = s.next, 0, nil
		stretches.Put(s)
	}
	return t
}
