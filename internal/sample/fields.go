package sample

import "time"

func (*Device) kind() kind     { return kindDevice }
func (*Connect) kind() kind    { return kindConnect }
func (*Targets) kind() kind    { return kindTargets }
func (*Execution) kind() kind  { return kindExecution }
func (*Unexpected) kind() kind { return kindUnexpected }
func (*Repetition) kind() kind { return kindRepetition }
func (*JobState) kind() kind   { return kindJobState }
func (*HubStats) kind() kind   { return kindHubStats }
func (*Health) kind() kind     { return kindHealth }
func (*End) kind() kind        { return kindEnd }
func (*Lost) kind() kind       { return kindLost }
func (*Fault) kind() kind      { return kindFault }
func (*Recording) kind() kind  { return kindRecording }

func (r *Device) fields(c *coder) {
	c.uint32(&r.Index)
	c.string(&r.ID)
	c.string(&r.Group)
}

func (r *Connect) fields(c *coder) {
	c.uint32(&r.Device)
	c.uint32(&r.Attempt)
	c.flags(&r.Reconnect)
	c.moment(&r.Due)
	c.momentFrom(r.Due, &r.Dialed)
	c.momentFrom(r.Due, &r.Accepted)
	c.momentFrom(r.Due, &r.Ready)
	c.string(&r.Error)
}

func (r *Targets) fields(c *coder) {
	c.uint32(&r.Job)
	c.uint32(&r.Repetition)
	c.string(&r.ID)
	c.moment(&r.Due)
	c.flags(&r.Checkable)
	if c.first {
		r.firstDevices(c)
		return
	}
	n := c.listed(len(r.Devices))
	if c.reading {
		r.Devices = make([]uint32, n)
	}
	before := int64(0)
	c.numbers(n, func(i int, v *int64) {
		if !c.reading {
			*v = int64(r.Devices[i]) - before
			before = int64(r.Devices[i])
			return
		}
		before += *v
		if r.Devices[i] = uint32(before); before != int64(r.Devices[i]) {
			c.fail()
		}
	})
}

func (r *Targets) firstDevices(c *coder) {
	r.Devices = make([]uint32, c.length(len(r.Devices), 1))
	for i := range r.Devices {
		c.uint32(&r.Devices[i])
	}
}

func (r *Execution) fields(c *coder) {
	c.uint32(&r.Job)
	c.uint32(&r.Repetition)
	c.uint32(&r.Device)
	c.outcome(&r.Outcome)
	c.flags(&r.Final, &r.HubClock)
	c.moment(&r.Due)
	c.momentFrom(r.Due, &r.Dispatched)
	c.momentFrom(r.Due, &r.Received)
	c.momentFrom(r.Due, &r.Answered)
	c.momentFrom(r.Due, &r.Finished)
	c.momentFrom(r.Due, &r.Booked)
	c.int32(&r.Status)
	c.string(&r.Code)
	c.uint32(&r.Attempts)
	c.uint32(&r.Duplicates)
}

func (r *Unexpected) fields(c *coder) {
	c.uint32(&r.Device)
	c.moment(&r.At)
	c.string(&r.Kind)
	c.string(&r.Name)
	c.uint32(&r.Job)
	c.flags(&r.TooEarly)
}

func (s *Statistics) fields(c *coder) {
	c.int64(&s.Devices)
	c.int64(&s.Failed)
	c.int64(&s.Succeeded)
	c.int64(&s.Running)
	c.int64(&s.Pending)
}

func (r *Repetition) fields(c *coder) {
	c.uint32(&r.Job)
	c.uint32(&r.Repetition)
	c.string(&r.ID)
	c.string(&r.Status)
	c.string(&r.Reason)
	c.moment(&r.Due)
	c.momentFrom(r.Due, &r.Started)
	c.momentFrom(r.Due, &r.Ended)
	c.int64(&r.Targeted)
	c.int64(&r.Missing)
	c.int64(&r.Extra)
	c.flags(&r.Checked, &r.HubBooks, &r.Skipped)
	r.Rows.fields(c)
	r.Stats.fields(c)
}

func (r *JobState) fields(c *coder) {
	c.moment(&r.At)
	c.uint32(&r.Job)
	c.uint32(&r.Repetition)
	c.string(&r.ID)
	c.string(&r.Status)
	r.Stats.fields(c)
}

func (r *HubStats) fields(c *coder) {
	c.moment(&r.At)
	c.duration(&r.CPU)
	c.int64(&r.RSS)
	c.int64(&r.MaxRSS)
	c.int64(&r.Connections)
	c.int64(&r.SlowClosed)
}

func (r *Health) fields(c *coder) {
	c.moment(&r.At)
	r.wakes(c)
	c.duration(&r.TimerLate)
	c.duration(&r.CPU)
	c.int64(&r.RSS)
	c.int64(&r.MaxRSS)
	c.duration(&r.GCPauseP99)
	c.int64(&r.Goroutines)
	c.int64(&r.Descriptors)
	c.duration(&r.ClockStep)
	if !c.first { // which knew of one generator
		c.uint32(&r.Generator)
	}
}

// wakes are a millisecond apart: each is coded by its distance from the last.
func (r *Health) wakes(c *coder) {
	if c.first {
		r.firstWakes(c)
		return
	}
	n := c.listed(len(r.Wakes))
	if c.reading {
		r.Wakes = make([]Wake, n)
	}
	last := r.At
	c.numbers(n, func(i int, v *int64) {
		if c.reading {
			r.Wakes[i].Sent = last + Moment(*v)
		} else {
			*v = int64(r.Wakes[i].Sent - last)
		}
		last = r.Wakes[i].Sent
	})
	c.numbers(n, func(i int, v *int64) {
		if c.reading {
			r.Wakes[i].Delay = time.Duration(*v)
		} else {
			*v = int64(r.Wakes[i].Delay)
		}
	})
}

func (r *Health) firstWakes(c *coder) {
	r.Wakes = make([]Wake, c.length(len(r.Wakes), 2))
	last := r.At
	for i := range r.Wakes {
		c.momentFrom(last, &r.Wakes[i].Sent)
		c.duration(&r.Wakes[i].Delay)
		last = r.Wakes[i].Sent
	}
}

func (r *End) fields(c *coder) {
	c.moment(&r.At)
	c.string(&r.Reason)
	c.string(&r.Error)
}

func (r *Lost) fields(c *coder) {
	c.uint32(&r.Device)
	c.moment(&r.At)
	c.string(&r.Error)
}

func (r *Fault) fields(c *coder) {
	c.uint32(&r.Index)
	c.string(&r.What)
	c.string(&r.At)
	c.moment(&r.Begun)
	c.momentFrom(r.Begun, &r.Ended)
	c.int64(&r.Struck)
	c.string(&r.Error)
}

func (r *Recording) fields(c *coder) {
	c.moment(&r.At)
	c.int64(&r.Records)
	c.int64(&r.Dropped)
	c.int64(&r.Late)
	c.duration(&r.Waited)
}
