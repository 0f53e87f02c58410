package scheduler_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/query"
	"muster/internal/sample"
	"muster/scheduler"
)

func TestTargetsAreInDoubtWhileTheirTwinsChange(t *testing.T) {
	const tags, desired = scheduler.Tags, scheduler.Desired
	// check runs a job of the condition that is due 10 s after the start and
	// misses one device, beside a twin job that takes a second.
	check := func(condition string, kind scheduler.Kind, patch string, after time.Duration, want bool) {
		t.Helper()
		for _, vias := range [][2]scheduler.Via{{scheduler.Hub, scheduler.Hub}, {scheduler.Direct, scheduler.Direct}, {scheduler.Hub, scheduler.Direct}} {
			synctest.Test(t, func(t *testing.T) {
				t.Helper()
				parsed, err := query.ParseCondition(condition)
				if err != nil {
					t.Fatal(err)
				}
				place := scheduler.Job{Name: "place", Kind: kind, ConditionText: "*", After: after, Via: vias[0]}
				if place.Tags = json.RawMessage(patch); kind == desired {
					place.Tags, place.Desired = nil, json.RawMessage(patch)
				}
				job := method(func(j *scheduler.Job) {
					j.Condition, j.ConditionText, j.After, j.Via = parsed, condition, 10*time.Second, vias[1]
				})
				l, c := directLab(t, 3, scheduler.Options{}, place, job)
				l.hub.targets, c.ids, c.latency = []string{"d0", "d1"}, []string{"d0", "d1"}, time.Second
				l.hub.rowLag = time.Second
				l.run(t)
				rep := l.repetition(t, 1, 0)
				if rep.Checked != want || (rep.Missing == 1) != want || rep.Targeted != 2 {
					t.Errorf("%s beside %v %s after %v, via %v: %+v, want checked %v", condition, kind, patch, after, vias, rep, want)
				}
				for _, got := range of[*sample.Targets](l.records) {
					if got.Job == 1 && (got.Checkable != want || len(got.Devices) != 3) {
						t.Errorf("targets %+v", got)
					}
				}
			})
		}
	}
	check("tags.site = 'a'", tags, `{"site":"a"}`, 10*time.Second, false)
	check("tags.site = 'a'", tags, `{"site":"a"}`, 9500*ms, false)
	check("tags.site = 'a'", tags, `{"site":"a"}`, 7*time.Second, true) // it is over by then
	check("tags.site = 'a'", tags, `{"site":"a"}`, 11*time.Second, true)
	check("tags.site = 'a'", tags, `{"floor":1}`, 10*time.Second, true)
	check("tags.site = 'a'", desired, `{"site":"a"}`, 10*time.Second, true)
	check("tags.place.site = 'a'", tags, `{"place":null}`, 10*time.Second, false)
	check("is_defined(tags.place)", tags, `{"place":{"site":"a"}}`, 10*time.Second, false)
	check("tags.place.floor = 1", tags, `{"place":{"site":"a"}}`, 10*time.Second, true)
	check("properties.desired.floor = 1 AND deviceId != 'x'", desired, `{"floor":1}`, 9500*ms, false)
	check("properties.reported.floor = 1", desired, `{"floor":1}`, 10*time.Second, false)
	check("properties.reported.door = 1", desired, `{"floor":1}`, 10*time.Second, true)
	check("*", tags, `{"site":"a"}`, 10*time.Second, true)
}

func TestTargetsAreInDoubtWhenTheQueryIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		condition, err := query.ParseCondition("tags.site = 'a'")
		if err != nil {
			t.Fatal(err)
		}
		tag := scheduler.Job{
			Name: "tag", Kind: scheduler.Tags, Tags: json.RawMessage(`{"site":"a"}`), ConditionText: "*", Device: "d0",
			Via: scheduler.Direct, After: 200 * ms,
		}
		l, c := directLab(t, 3, scheduler.Options{}, tag, direct(func(j *scheduler.Job) { j.Condition = condition }))
		c.querying = time.Second // it begins before the tag job does, and ends after it
		l.run(t)
		if rep := l.repetition(t, 1, 0); rep.Checked {
			t.Errorf("repetition %+v, want it in doubt", rep)
		}
	})
}
