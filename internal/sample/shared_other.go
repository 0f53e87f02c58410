//go:build !linux

package sample

import (
	"errors"
	"time"
)

func bracketed() (time.Time, int64, error) {
	return time.Time{}, 0, errors.New("the processes of this system share no clock that muster knows")
}
