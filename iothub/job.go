package iothub

import (
	"encoding/json"
	"strings"
)

// JobType is what a job does.
type JobType string

// The types of job.
const (
	JobMethod      JobType = "scheduleDeviceMethod"
	JobTwin        JobType = "scheduleUpdateTwin"
	JobTypeUnknown JobType = "unknown"
)

// JobStatus is how far a job is.
type JobStatus string

// The statuses of a job.
const (
	JobUnknown   JobStatus = "unknown"
	JobEnqueued  JobStatus = "enqueued"
	JobQueued    JobStatus = "queued"
	JobScheduled JobStatus = "scheduled"
	JobRunning   JobStatus = "running"
	JobCompleted JobStatus = "completed" // every device job ended, even if all of them failed
	JobFailed    JobStatus = "failed"    // the job itself failed, see FailureReason
	JobCancelled JobStatus = "cancelled" // two l, unlike DeviceJobCanceled
)

// UnmarshalText reads a status. Every spelling of cancelled becomes
// JobCancelled; the service and its documentation are of several minds.
func (s *JobStatus) UnmarshalText(text []byte) error {
	*s = JobStatus(text)
	if strings.HasPrefix(string(text), "cancel") {
		*s = JobCancelled
	}
	return nil
}

// Done reports whether the job will not change any more.
func (s JobStatus) Done() bool { return s == JobCompleted || s == JobFailed || s == JobCancelled }

// DeviceJobStatus is how far one device's part in a job is.
type DeviceJobStatus string

// The statuses of a device job.
const (
	DeviceJobPending   DeviceJobStatus = "pending"
	DeviceJobScheduled DeviceJobStatus = "scheduled"
	DeviceJobRunning   DeviceJobStatus = "running"
	DeviceJobCompleted DeviceJobStatus = "completed"
	DeviceJobFailed    DeviceJobStatus = "failed"
	DeviceJobCanceled  DeviceJobStatus = "canceled" // one l, unlike JobCancelled
)

// UnmarshalText reads a status. Every spelling of canceled becomes
// DeviceJobCanceled.
func (s *DeviceJobStatus) UnmarshalText(text []byte) error {
	*s = DeviceJobStatus(text)
	if strings.HasPrefix(string(text), "cancel") {
		*s = DeviceJobCanceled
	}
	return nil
}

// Done reports whether the device job will not change any more.
func (s DeviceJobStatus) Done() bool {
	return s == DeviceJobCompleted || s == DeviceJobFailed || s == DeviceJobCanceled
}

// MaxQuery is how many characters a query or a query condition may have.
const MaxQuery = 8192

// JobRequest is the body of PUT /jobs/v2/{id}.
type JobRequest struct {
	JobID                     string          `json:"jobId"`
	Type                      JobType         `json:"type"`
	CloudToDeviceMethod       *Method         `json:"cloudToDeviceMethod,omitempty"`
	UpdateTwin                json.RawMessage `json:"updateTwin,omitempty"` // see NewJobTwinUpdate
	QueryCondition            string          `json:"queryCondition"`       // the body of a WHERE clause; "*" for all
	StartTime                 Time            `json:"startTime,omitzero"`   // zero or past: at once
	MaxExecutionTimeInSeconds int             `json:"maxExecutionTimeInSeconds,omitempty"`
}

// Job is a job as the service tells of it.
type Job struct {
	JobID                     string               `json:"jobId"`
	Type                      JobType              `json:"type"`
	Status                    JobStatus            `json:"status"`
	CreatedTime               Time                 `json:"createdTime,omitzero"`
	StartTime                 Time                 `json:"startTime,omitzero"`
	EndTime                   Time                 `json:"endTime,omitzero"`
	MaxExecutionTimeInSeconds int                  `json:"maxExecutionTimeInSeconds,omitempty"`
	QueryCondition            string               `json:"queryCondition,omitempty"`
	CloudToDeviceMethod       *Method              `json:"cloudToDeviceMethod,omitempty"`
	UpdateTwin                json.RawMessage      `json:"updateTwin,omitempty"`
	FailureReason             string               `json:"failureReason,omitempty"`
	StatusMessage             string               `json:"statusMessage,omitempty"`
	DeviceJobStatistics       *DeviceJobStatistics `json:"deviceJobStatistics,omitempty"` // nil before the job runs
}

// DeviceJobStatistics counts the device jobs of a job by status.
type DeviceJobStatistics struct {
	DeviceCount    int `json:"deviceCount"`
	FailedCount    int `json:"failedCount"`
	SucceededCount int `json:"succeededCount"`
	RunningCount   int `json:"runningCount"`
	PendingCount   int `json:"pendingCount"`
}

// DeviceJob is one device's part in a job: a row of devices.jobs.
type DeviceJob struct {
	DeviceID               string          `json:"deviceId"`
	ModuleID               string          `json:"moduleId,omitempty"`
	JobID                  string          `json:"jobId"`
	JobType                JobType         `json:"jobType"`
	Status                 DeviceJobStatus `json:"status"`
	StartTimeUTC           Time            `json:"startTimeUtc,omitzero"`
	EndTimeUTC             Time            `json:"endTimeUtc,omitzero"`
	CreatedDateTimeUTC     Time            `json:"createdDateTimeUtc,omitzero"`
	LastUpdatedDateTimeUTC Time            `json:"lastUpdatedDateTimeUtc,omitzero"`
	Outcome                *Outcome        `json:"outcome,omitempty"`
	Error                  *DeviceJobError `json:"error,omitempty"` // only of a failed one
}

// Outcome is what came of a device job.
type Outcome struct {
	DeviceMethodResponse *MethodResult `json:"deviceMethodResponse"` // nil for a twin update
}

// DeviceJobError is why a device job failed. Code is a name of the table of
// codes, such as DeviceNotOnline.
type DeviceJobError struct {
	Code        string `json:"code"`
	Description string `json:"description"`
}
