package scenarios

import (
	"cmp"
	"hash/maphash"
	"strconv"
	"strings"
	"time"

	"muster/internal/template"
)

// check looks for what no single key shows.
func (d *decoder) check(s *Scenario) {
	d.checkNames(s)
	d.checkIDs(s)
	d.checkSignatures(s.Jobs)
	d.checkFaults(s)
	d.checkSources(s)
	d.checkThresholds(s)
	if len(s.Jobs) == 0 {
		d.warn("jobs", "the scenario has no jobs: it only connects its fleet")
	}
	if len(s.Thresholds) == 0 {
		d.warn("thresholds", "the scenario has no thresholds: nothing is asked of its latencies")
	}
	for i := range s.Jobs {
		d.doubt(&s.Jobs[i], index("jobs", i))
	}
}

// doubt warns of a job that is likely not what was meant.
func (d *decoder) doubt(j *Job, path string) {
	if m := j.CloudToDeviceMethod; m != nil && j.MaxExecution < m.ResponseTimeout+m.ConnectTimeout {
		d.warn(member(path, "maxExecutionTimeInSeconds"), "is shorter than the method's timeouts together: a slow device is cut off")
	}
	if j.Times > 1 && j.Every < time.Second && !j.Mark && j.Via == Hub {
		d.warn(path+".repeat.every", "is under a second: a repetition waits for the rows of the one before it unless the job has mark: true")
	}
}

// checkNames refuses groups and jobs of one name.
func (d *decoder) checkNames(s *Scenario) {
	groups := map[string]string{}
	for i := range s.Fleet {
		d.unique(groups, "group", s.Fleet[i].Name, member(index("fleet", i), "group"))
	}
	jobs := map[string]string{}
	for i := range s.Jobs {
		d.unique(jobs, "job", s.Jobs[i].Name, member(index("jobs", i), "name"))
	}
}

// unique reports a name that seen has from another path.
func (d *decoder) unique(seen map[string]string, what, name, path string) {
	if name == "" {
		return
	}
	first, twice := seen[name]
	if !twice {
		seen[name] = path
		return
	}
	d.failPath(path, "two %ss are named %s; the first is %s%s", what, d.show(path, name), first, d.onLine(first))
}

// onLine names the line of a path in the file, for a second place in a message.
func (d *decoder) onLine(path string) string {
	n := d.nodeAt(path)
	if n.line == 0 || n.set != nil {
		return ""
	}
	return " on line " + strconv.Itoa(n.line)
}

// checkIDs evaluates the id of every device: each must be one that a hub
// takes, and no two the same. Only the first of each fault in a group is
// reported.
func (d *decoder) checkIDs(s *Scenario) {
	total := s.Devices()
	if total > MaxDevices {
		d.failPath("fleet", "%d devices are more than an IoT hub takes, which is %d", total, MaxDevices)
		return
	}
	c := ids{s: s, seed: maphash.MakeSeed(), seen: make(map[uint64]place, total)}
	for g := range s.Fleet {
		if s.Fleet[g].ID.Template == nil || s.Fleet[g].Name == "" {
			continue
		}
		d.checkGroupIDs(&c, g)
	}
}

// ids knows the ids seen so far, by a hash: a million of them take a tenth of
// what the texts would. Equal hashes are looked into.
type ids struct {
	s    *Scenario
	seed maphash.Seed
	seen map[uint64]place
}

// place is a device by its group and index.
type place struct{ group, index uint32 }

func (c *ids) of(p place) string {
	g := &c.s.Fleet[p.group]
	return g.ID.Template.Text(template.Vars{Index: int(p.index), Group: g.Name, Seed: c.s.Seed})
}

func (d *decoder) checkGroupIDs(c *ids, group int) {
	g := &c.s.Fleet[group]
	path := member(index("fleet", group), "id")
	for i := range g.Devices {
		at := place{uint32(group), uint32(i)}
		id := c.of(at)
		if !validDeviceID(id) {
			d.failPath(path, "device %d gets the id %s; %s", i, quote(id), deviceIDRule)
			return
		}
		hash := maphash.String(c.seed, id)
		first, twice := c.seen[hash]
		if twice && c.of(first) == id {
			d.failPath(path, "device %d of group %s and device %d of group %s get the same id %s; ids must differ over the whole fleet",
				first.index, quote(c.s.Fleet[first.group].Name), i, quote(g.Name), quote(id))
			return
		}
		c.seen[hash] = at
	}
}

// deviceIDRule says what validDeviceID asks for.
const deviceIDRule = "an id has 1 to 128 ASCII letters, digits and - . + % _ # * ? ! ( ) , : ; = @ $ '"

// validDeviceID reports whether an IoT hub takes an id.
func validDeviceID(id string) bool {
	for i := range len(id) {
		c := id[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && !strings.ContainsRune("-.+%_#*?!(),:;=@$'", rune(c)) {
			return false
		}
	}
	return id != "" && len(id) <= 128
}

// checkSignatures refuses two jobs whose receipts nobody could tell apart: a
// device gets the same request from both while either may be open.
func (d *decoder) checkSignatures(jobs []Job) {
	for i := range jobs {
		for k := range i {
			if alike(&jobs[k], &jobs[i]) && mayMeet(&jobs[k], &jobs[i]) {
				d.confused(jobs, k, i)
				break // one of them is enough to say so
			}
		}
	}
}

func (d *decoder) confused(jobs []Job, first, second int) {
	one, two := index("jobs", first), index("jobs", second)
	d.failPath(two, "job %s sends what job %s (%s%s) sends, and their times can overlap: a device's receipt would fit both. "+
		"Give one of them mark: true, another payload, or a start after the other's last end (start, repetitions, maxExecutionTimeInSeconds, settle)",
		d.show(member(two, "name"), jobs[second].Name), d.show(member(one, "name"), jobs[first].Name), one, d.onLine(one))
}

// alike reports whether a device cannot tell a request of one job from one of
// the other.
func alike(a, b *Job) bool {
	if a.Mark || b.Mark {
		return false
	}
	if m, n := a.CloudToDeviceMethod, b.CloudToDeviceMethod; m != nil && n != nil {
		return m.MethodName == n.MethodName && sameJSON(m.Payload, n.Payload)
	}
	u, v := a.UpdateTwin, b.UpdateTwin
	return u != nil && v != nil && u.Desired != nil && sameJSON(u.Desired, v.Desired)
}

// mayMeet reports whether the windows of two jobs can overlap. A start after
// the fleet is ready and a time of day cannot be compared beforehand.
func mayMeet(a, b *Job) bool {
	switch {
	case a.At.IsZero() != b.At.IsZero():
		return true
	case a.At.IsZero():
		return a.After < b.After+openFor(b) && b.After < a.After+openFor(a)
	}
	return a.At.Before(b.At.Add(openFor(b))) && b.At.Before(a.At.Add(openFor(a)))
}

// openMargin is what a job may be open beyond its own times: the hub gets it
// a little early, and the last receipts come a little late.
const openMargin = 10 * time.Second

// openFor returns how long after its start a job may still be open. Without a
// mark a repetition waits for the end of the one before it. The hub may take
// the settling time to end a job, and as long again to show its rows.
func openFor(j *Job) time.Duration {
	one := j.MaxExecution + 2*cmp.Or(j.Settle, defaultSettle) + openMargin
	return one + time.Duration(j.Times-1)*max(j.Every, one)
}
