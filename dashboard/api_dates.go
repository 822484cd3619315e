package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dachs/storage"
)

// maxHourlyDays bounds an answer by the hour: a leap year has 8,784 of them.
const maxHourlyDays = 366

// dateRange is the date_range of a request: the name of a period, or two ends.
type dateRange struct {
	name     string
	from, to string
	instants bool // from and to are date-times
}

func parseDateRange(raw json.RawMessage) (dateRange, error) {
	var name string
	var ends []string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return dateRange{}, errors.New(`date_range: missing; give a period such as "30d" or two days such as ["2026-01-01", "2026-01-31"]`)
	case json.Unmarshal(raw, &name) == nil && name != custom:
		return dateRange{name: name}, nil
	case json.Unmarshal(raw, &ends) != nil || len(ends) != 2:
		return dateRange{}, errors.New(`date_range: want a period such as "30d" or two days such as ["2026-01-01", "2026-01-31"]`)
	}
	return dateRange{
		name: custom, from: ends[0], to: ends[1],
		instants: len(ends[0]) > len(time.DateOnly) && len(ends[1]) > len(time.DateOnly),
	}, nil
}

// period finds the days that the range means at the site. now is in the site's time zone.
func (d dateRange) period(now time.Time, first storage.Day) (Period, error) {
	// A custom period has no name here: it is written as its two days.
	if names := periodNames(); d.name != custom && !slices.Contains(names, d.name) {
		return Period{}, fmt.Errorf(`date_range: period %q: unknown; known are %s, or two days such as ["2026-01-01", "2026-01-31"]`,
			d.name, strings.Join(names, ", "))
	}
	from, to := d.from, d.to
	if d.instants {
		var err error
		if from, to, err = wholeDays(d.from, d.to, now.Location()); err != nil {
			return Period{}, fmt.Errorf("date_range: %w", err)
		}
	}
	p, err := ParsePeriod(d.name, from, to, now, first)
	if err != nil {
		return Period{}, fmt.Errorf("date_range: %w", err)
	}
	return p, nil
}

// wholeDays turns two instants into the days whose beginning and last second they are. Anything finer has
// no answer: the time of day leaves the counts when they are merged.
func wholeDays(from, to string, loc *time.Location) (first, last string, err error) {
	start, err := time.Parse(time.RFC3339, from)
	if err != nil {
		return "", "", fmt.Errorf("%q is no date-time; want one such as 2026-01-01T00:00:00+01:00", from)
	}
	end, err := time.Parse(time.RFC3339, to)
	if err != nil {
		return "", "", fmt.Errorf("%q is no date-time; want one such as 2026-01-31T23:59:59+01:00", to)
	}
	start, end = start.In(loc), end.In(loc)
	// Compared with their neighbours, because midnight is missing or comes twice in some time zones.
	begins := storage.DayOf(start.Add(-time.Nanosecond)) != storage.DayOf(start)
	ends := storage.DayOf(end) != storage.DayOf(end.Add(time.Second))
	if !begins || !ends {
		return "", "", fmt.Errorf("%s to %s are not whole days in the site's time zone (%s); "+
			"hits are kept by the day, so ask for days such as [\"2026-01-01\", \"2026-01-31\"]", from, to, loc)
	}
	return storage.DayOf(start).String(), storage.DayOf(end).String(), nil
}

// resolve completes the query for a site. now is in the site's time zone, first is the site's first day with data.
func (q *apiQuery) resolve(site storage.Site, now time.Time, first storage.Day) (Period, error) {
	p, err := q.dates.period(now, first)
	if err != nil {
		return Period{}, err
	}
	if q.autoTime {
		q.query.Interval = p.Interval
	}
	if q.query.Interval == storage.ByHour && p.Days() > maxHourlyDays {
		return Period{}, fmt.Errorf("dimensions: time:hour over %d days; ask for at most %d days, or for time:day", p.Days(), maxHourlyDays)
	}
	q.query.Site, q.query.From, q.query.To = site.ID, p.From, p.To
	return p, nil
}

// label names the bucket of a row as Plausible does: a date, or a date with the hour on the site's clock.
func (p Period) label(d storage.Day, hour int, i storage.Interval) string {
	s := p.bucketLabel(d, i).String()
	if i == storage.ByHour {
		return fmt.Sprintf("%s %02d:00:00", s, hour)
	}
	return s
}

// labels names every bucket of the period, also those without hits.
func (p Period) labels(i storage.Interval) []string {
	var labels []string
	for _, d := range p.Buckets(i) {
		if i != storage.ByHour {
			labels = append(labels, p.label(d, 0, i))
			continue
		}
		for hour := range 24 {
			labels = append(labels, p.label(d, hour, i))
		}
	}
	return labels
}
