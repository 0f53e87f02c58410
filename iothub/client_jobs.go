package iothub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
)

var errJobID = errors.New("not a job id")

// CreateJob schedules a job. It is repeated like a read: if the hub answers a
// repeated request that the job exists, and the job that exists does the same
// for the same condition, it is one's own and that is success.
func (c *Client) CreateJob(ctx context.Context, r JobRequest) (Job, error) {
	if !ValidJobID(r.JobID) {
		return Job{}, fmt.Errorf("create job %.80q: %w", r.JobID, errJobID)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return Job{}, fmt.Errorf("create job %s: %w", r.JobID, err)
	}
	var job Job
	repeated, err := c.do(ctx, call{
		doing: "create job " + r.JobID, method: http.MethodPut, path: "/jobs/v2/" + r.JobID, body: body,
		repeat: always, read: into(&job),
	})
	if repeated && conflict(err) {
		if own, failed := c.Job(unwatched(ctx), r.JobID); failed == nil && own.Type == r.Type && own.QueryCondition == r.QueryCondition {
			return own, nil
		}
	}
	return job, err
}

// Job reads a job. A job that the hub does not know is an Error with
// CodeJobNotFound, also where the hub answers with a job of unknown type and
// status.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	var job Job
	if !ValidJobID(id) {
		return job, fmt.Errorf("read job %.80q: %w", id, errJobID)
	}
	_, err := c.do(ctx, call{doing: "read job " + id, method: http.MethodGet, path: "/jobs/v2/" + id, repeat: always, read: into(&job)})
	if err == nil && job.Status == JobUnknown && (job.Type == JobTypeUnknown || job.Type == "") {
		err = fmt.Errorf("read job %s: %w", id, &Error{
			StatusCode: http.StatusNotFound, Code: CodeJobNotFound, Name: CodeJobNotFound.Name(), Message: "the hub knows no such job",
		})
	}
	return job, err
}

// CancelJob cancels a job that has not begun to run. It is repeated like a
// read: if the hub refuses a repeated request and the job is cancelled, that
// is success.
func (c *Client) CancelJob(ctx context.Context, id string) (Job, error) {
	var job Job
	if !ValidJobID(id) {
		return job, fmt.Errorf("cancel job %.80q: %w", id, errJobID)
	}
	repeated, err := c.do(ctx, call{
		doing: "cancel job " + id, method: http.MethodPost, path: "/jobs/v2/" + id + "/cancel", repeat: always, read: into(&job),
	})
	if refused, ok := errors.AsType[*Error](err); ok && repeated && refused.StatusCode < http.StatusInternalServerError {
		if own, failed := c.Job(unwatched(ctx), id); failed == nil && own.Status == JobCancelled {
			return own, nil
		}
	}
	return job, err
}

// Jobs lists the jobs of a type and a status, either of which may be empty for
// all, page by page as they are asked for. It ends after an error.
func (c *Client) Jobs(ctx context.Context, kind JobType, status JobStatus) iter.Seq2[Job, error] {
	k := call{doing: "list jobs", method: http.MethodGet, path: "/jobs/v2/query", repeat: always}
	k.query = parameter("jobType", string(kind)) + parameter("jobStatus", string(status))
	return decoded[Job](c.rows(ctx, k, 0, false))
}

// DeviceJobs lists what became of a job on each device, page by page as they
// are asked for. Rows may share an outcome and an error, which are not to be
// changed, and the memory of their texts. It ends after an error.
func (c *Client) DeviceJobs(ctx context.Context, jobID string) iter.Seq2[DeviceJob, error] {
	return func(yield func(DeviceJob, error) bool) {
		if !ValidJobID(jobID) {
			yield(DeviceJob{}, fmt.Errorf("list device jobs of %.80q: %w", jobID, errJobID))
			return
		}
		var p rowPage
		k := query("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '" + jobID + "'")
		if err := c.pages(ctx, k, 0, p.read, func() bool { return p.each(yield) }); err != nil {
			yield(DeviceJob{}, err)
		}
	}
}
