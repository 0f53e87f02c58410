package scheduler

import (
	"encoding/json"
	"slices"

	"muster/internal/sample"
)

// The fleet's own twins learn of a twin job when its ledger is closed, the
// hub's while it runs. As long as it does, whom a query that reads what it
// writes should match is in doubt.

// doubt notes whether what the hub matches may differ from what the fleet's
// twins told: a job that writes what the query reads goes on, or has ended
// since they did.
func (p *repetition) doubt() {
	if !p.checkable || p.job.Condition == nil {
		return
	}
	paths := p.job.Condition.Paths()
	by := max(p.w.due, p.s.opts.Clock.Now()).Add(ahead)
	for _, o := range p.s.runners {
		if overlaps(o.writes, paths) && o.writing(p, by) {
			p.checkable = false
			return
		}
	}
}

// writing reports whether a repetition of the job other than p is due by a
// moment and not over, or was over since the fleet's twins were asked for p.
func (r *runner) writing(p *repetition, by sample.Moment) bool {
	if r == p.r && !r.job.Mark {
		return false // they do not overlap
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended > p.asked {
		return true
	}
	for n, due := range r.pending {
		if due <= by && (r != p.r || n != p.w.number) {
			return true
		}
	}
	return false
}

// writes returns the attributes that j changes, as paths of a query. Devices
// may report the desired properties that they get.
func (j *Job) writes() (paths [][]string) {
	if j.Kind == Method {
		return nil
	}
	paths = members(paths, []string{"tags"}, j.Tags)
	for _, section := range []string{"desired", "reported"} {
		under := []string{"properties", section}
		paths = members(paths, under, j.Desired)
		if j.Mark && j.Kind == Desired {
			paths = append(paths, append(under[:2:2], markKey))
		}
	}
	return paths
}

// members adds the innermost members of a patch below a path.
func members(paths [][]string, under []string, patch json.RawMessage) [][]string {
	var inner map[string]json.RawMessage
	if json.Unmarshal(patch, &inner) != nil {
		return paths
	}
	for name, member := range inner {
		path := append(under[:len(under):len(under)], name)
		deeper := members(nil, path, member)
		if deeper == nil {
			deeper = [][]string{path}
		}
		paths = append(paths, deeper...)
	}
	return paths
}

// overlaps reports whether a path of one is one of the other, above or below it.
func overlaps(writes, reads [][]string) bool {
	for _, w := range writes {
		for _, r := range reads {
			n := min(len(w), len(r))
			if slices.Equal(w[:n], r[:n]) {
				return true
			}
		}
	}
	return false
}
