package storage

import (
	"fmt"
	"time"
)

// Day is a calendar day in a site's own time zone, as days since 1970-01-01.
// It carries no zone: a hit is given its day once, when it is counted, and keeps it.
type Day int32

// dayLayout is how a day is written everywhere: in the API, in URLs and in log lines.
const dayLayout = "2006-01-02"

// DayOf returns the calendar day that t shows on a wall clock in its own location.
func DayOf(t time.Time) Day {
	y, m, d := t.Date()
	return DateDay(y, m, d)
}

// DateDay returns the day of a calendar date; out-of-range months and days are normalised as by time.Date.
func DateDay(year int, month time.Month, day int) Day {
	return Day(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// ParseDay reads a day written as 2006-01-02.
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(dayLayout, s)
	if err != nil {
		return 0, fmt.Errorf("parse day %q: want a date such as 2026-01-31", s)
	}
	return DayOf(t), nil
}

// Date returns the day as midnight UTC, for calendar arithmetic and formatting only:
// it is not the instant at which the day began at the site.
func (d Day) Date() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// String writes the day as 2006-01-02.
func (d Day) String() string { return d.Date().Format(dayLayout) }
