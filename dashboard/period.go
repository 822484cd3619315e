package dashboard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dachs/storage"
)

// Period is the span of calendar days that a report speaks of, at the site. It holds days and no instants,
// so no change to or from summer time can move its ends.
type Period struct {
	Name     string           // as ParsePeriod takes it
	From, To storage.Day      // both inclusive
	Interval storage.Interval // how fine a chart over the period is, unless asked otherwise
}

// custom is the name of a period that is given by its two days.
const custom = "custom"

const (
	// maxDailyBuckets is the longest period, in days, that is charted by day: the longest three months in a
	// row, or "91d". More bars than that cannot be told apart or pointed at on a phone.
	maxDailyBuckets = 92
	// maxPeriodDays bounds what one request can make the store walk through: a century, which is longer than
	// there has been a web to keep logs of.
	maxPeriodDays = 36525
)

// namedPeriods gives the first and last day of each period that has a name, seen from today.
// "Last n days" include today, so that a page opened in the morning already shows the visitors of the night.
// Months begin on their first day and end today: a chart of days to come would only be empty.
var namedPeriods = []struct {
	name string
	span func(today, first storage.Day) (from, to storage.Day)
}{
	{"day", lastDays(1)},
	{"yesterday", func(today, _ storage.Day) (from, to storage.Day) { return today - 1, today - 1 }},
	{"7d", lastDays(7)},
	{"28d", lastDays(28)},
	{"30d", lastDays(30)},
	{"91d", lastDays(91)},
	{"month", lastMonths(1)},
	{"6mo", lastMonths(6)},
	{"12mo", lastMonths(12)},
	{"year", func(today, _ storage.Day) (from, to storage.Day) {
		return storage.DateDay(today.Date().Year(), time.January, 1), today
	}},
	{"all", func(today, first storage.Day) (from, to storage.Day) { return min(first, today), today }},
}

func lastDays(n storage.Day) func(today, _ storage.Day) (from, to storage.Day) {
	return func(today, _ storage.Day) (storage.Day, storage.Day) { return today - n + 1, today }
}

// lastMonths counts the month of today as one of the n.
func lastMonths(n int) func(today, _ storage.Day) (from, to storage.Day) {
	return func(today, _ storage.Day) (storage.Day, storage.Day) {
		y, m, _ := today.Date().Date()
		return storage.DateDay(y, m-time.Month(n-1), 1), today
	}
}

// periodNames lists the periods that need no days beside their name.
func periodNames() []string {
	names := make([]string, 0, len(namedPeriods)+1) // room for custom
	for _, p := range namedPeriods {
		names = append(names, p.name)
	}
	return names
}

// ParsePeriod reads a period as the dashboard's addresses and the Stats API name it. now must be in the
// site's time zone: its date is today. first is the first day with data, where "all" begins; if it lies
// after today, "all" is today. from and to are dates such as 2026-01-31, both inclusive, and belong to
// "custom" only: other names ignore them. Errors say what was wrong in words that can be shown to people.
func ParsePeriod(name, from, to string, now time.Time, first storage.Day) (Period, error) {
	if name == custom {
		return parseCustom(from, to)
	}
	for _, p := range namedPeriods {
		if p.name == name {
			first, last := p.span(storage.DayOf(now), first)
			return newPeriod(name, first, last), nil
		}
	}
	return Period{}, fmt.Errorf("period %q: unknown; known are %s", name, strings.Join(append(periodNames(), custom), ", "))
}

func parseCustom(from, to string) (Period, error) {
	if from == "" || to == "" {
		return Period{}, errors.New("custom period: needs a first and a last day, such as 2026-01-01 and 2026-01-31")
	}
	first, err := storage.ParseDay(from)
	if err != nil {
		return Period{}, fmt.Errorf("first day of the period: %w", err)
	}
	last, err := storage.ParseDay(to)
	if err != nil {
		return Period{}, fmt.Errorf("last day of the period: %w", err)
	}
	if last < first {
		return Period{}, fmt.Errorf("custom period: ends on %s, before it begins on %s; swap the two days", last, first)
	}
	if last-first >= maxPeriodDays {
		return Period{}, fmt.Errorf("custom period: %s to %s is longer than a hundred years; choose a shorter one", first, last)
	}
	return newPeriod(custom, first, last), nil
}

func newPeriod(name string, from, to storage.Day) Period {
	p := Period{Name: name, From: from, To: to, Interval: storage.ByMonth}
	switch n := p.Days(); {
	case n == 1:
		p.Interval = storage.ByHour
	case n <= maxDailyBuckets:
		p.Interval = storage.ByDay
	}
	return p
}

// Days returns how many days the period has, at least 1.
func (p Period) Days() int { return int(p.To-p.From) + 1 }

// Before returns the period of as many days that ends on the day before p begins, for comparison.
func (p Period) Before() Period {
	return newPeriod(custom, p.From-storage.Day(p.Days()), p.From-1)
}

// Buckets returns the first day of each bucket of p at the given interval, in order; a single one for
// storage.Whole, and one for each day, not hour, for storage.ByHour. The first week begins with the
// period even if that is no Monday, so that its label is a day that was asked for; months are named by
// their first day.
func (p Period) Buckets(i storage.Interval) []storage.Day {
	var days []storage.Day
	for d := p.From; d <= p.To; {
		days = append(days, p.bucketLabel(d, i))
		d = nextBucket(d, i, p.To)
	}
	return slices.Clip(days)
}

// bucketLabel names the bucket that d lies in by its first day.
func (p Period) bucketLabel(d storage.Day, i storage.Interval) storage.Day {
	switch i {
	case storage.ByWeek:
		return max(d-weekday(d), p.From)
	case storage.ByMonth:
		y, m, _ := d.Date().Date()
		return storage.DateDay(y, m, 1)
	case storage.Whole:
		return p.From
	}
	return d
}

// nextBucket returns the first day of the bucket after that of d; last ends the only bucket of storage.Whole.
func nextBucket(d storage.Day, i storage.Interval, last storage.Day) storage.Day {
	switch i {
	case storage.ByWeek:
		return d - weekday(d) + 7
	case storage.ByMonth:
		y, m, _ := d.Date().Date()
		return storage.DateDay(y, m+1, 1)
	case storage.Whole:
		return last + 1
	}
	return d + 1
}

// weekday counts from Monday = 0, the first day of the week in ISO 8601.
func weekday(d storage.Day) storage.Day { return storage.Day(d.Date().Weekday()+6) % 7 }
