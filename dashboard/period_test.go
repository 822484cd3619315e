package dashboard

import (
	"strings"
	"testing"
	"time"

	"dachs/storage"
)

func day(tb testing.TB, s string) storage.Day {
	tb.Helper()
	d, err := storage.ParseDay(s)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func zone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func TestParsePeriod(t *testing.T) {
	const hour, byDay, month = storage.ByHour, storage.ByDay, storage.ByMonth
	first := day(t, "2024-02-10")
	for _, c := range []struct {
		name, today, from, to string
		interval              storage.Interval
	}{
		{"day", "2026-03-01", "2026-03-01", "2026-03-01", hour},
		{"yesterday", "2026-03-01", "2026-02-28", "2026-02-28", hour},
		{"yesterday", "2024-03-01", "2024-02-29", "2024-02-29", hour},
		{"7d", "2026-03-03", "2026-02-25", "2026-03-03", byDay},
		{"28d", "2026-03-28", "2026-03-01", "2026-03-28", byDay},
		{"30d", "2026-01-15", "2025-12-17", "2026-01-15", byDay},
		{"91d", "2026-04-01", "2026-01-01", "2026-04-01", byDay},
		{"month", "2026-02-28", "2026-02-01", "2026-02-28", byDay},
		{"month", "2026-02-01", "2026-02-01", "2026-02-01", hour},
		{"6mo", "2026-08-31", "2026-03-01", "2026-08-31", month},
		{"6mo", "2026-02-10", "2025-09-01", "2026-02-10", month},
		{"12mo", "2026-01-31", "2025-02-01", "2026-01-31", month},
		{"12mo", "2026-12-01", "2026-01-01", "2026-12-01", month},
		{"year", "2026-12-31", "2026-01-01", "2026-12-31", month},
		{"year", "2026-01-01", "2026-01-01", "2026-01-01", hour},
		{"year", "2026-04-02", "2026-01-01", "2026-04-02", byDay},  // 92 days
		{"year", "2026-04-03", "2026-01-01", "2026-04-03", month},  // 93 days
		{"all", "2024-02-10", "2024-02-10", "2024-02-10", hour},    // the very first day
		{"all", "2024-02-16", "2024-02-10", "2024-02-16", byDay},   //
		{"all", "2026-02-16", "2024-02-10", "2026-02-16", month},   //
		{"all", "2023-05-05", "2023-05-05", "2023-05-05", hour},    // no data up to today
		{"7d", "1970-01-03", "1969-12-28", "1970-01-03", byDay},    // across day 0
		{"month", "1969-12-31", "1969-12-01", "1969-12-31", byDay}, // negative days
		{"12mo", "1970-01-01", "1969-02-01", "1970-01-01", month},  //
	} {
		now := day(t, c.today).Date().Add(13 * time.Hour)
		p, err := ParsePeriod(c.name, "2000-01-01", "rubbish", now, first)
		if err != nil {
			t.Errorf("%s on %s: %v", c.name, c.today, err)
			continue
		}
		want := Period{c.name, day(t, c.from), day(t, c.to), c.interval}
		if p != want {
			t.Errorf("%s on %s = %v to %v by %d, want %v to %v by %d", c.name, c.today, p.From, p.To, p.Interval, want.From, want.To, want.Interval)
		}
	}
}

func TestParsePeriodCustom(t *testing.T) {
	for _, c := range []struct {
		from, to string
		days     int
		interval storage.Interval
	}{
		{"2026-01-31", "2026-01-31", 1, storage.ByHour},
		{"2026-01-31", "2026-02-01", 2, storage.ByDay},
		{"2024-02-01", "2024-03-01", 30, storage.ByDay},
		{"2024-01-01", "2024-12-31", 366, storage.ByMonth},
		{"2030-01-01", "2030-01-02", 2, storage.ByDay}, // days to come are no error: they are empty
	} {
		p, err := ParsePeriod("custom", c.from, c.to, time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC), 0)
		if err != nil || p != (Period{"custom", day(t, c.from), day(t, c.to), c.interval}) || p.Days() != c.days {
			t.Errorf("%s to %s = %+v (%d days), %v", c.from, c.to, p, p.Days(), err)
		}
	}
}

func TestParsePeriodErrors(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"", "", "", `period "": unknown; known are day, yesterday, 7d, 28d, 30d, 91d, month, 6mo, 12mo, year, all, custom`},
		{"7D", "", "", `period "7D": unknown`},
		{"8d", "", "", `period "8d": unknown`},
		{"custom", "", "", "needs a first and a last day"},
		{"custom", "2026-01-01", "", "needs a first and a last day"},
		{"custom", "2026-02-30", "2026-03-01", `first day of the period: parse day "2026-02-30"`},
		{"custom", "2026-03-01", "1.4.2026", `last day of the period: parse day "1.4.2026"`},
		{"custom", "2026-03-02", "2026-03-01", "ends on 2026-03-01, before it begins on 2026-03-02; swap the two days"},
		{"custom", "0001-01-01", "9999-12-31", "longer than a hundred years"},
	} {
		p, err := ParsePeriod(c.name, c.from, c.to, time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC), 0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s from %q to %q = %+v, error %v, want one with %q", c.name, c.from, c.to, p, err, c.want)
		}
	}
}

// The date on the site's wall clock decides, on days of 23 and 25 hours and right after midnight too.
func TestParsePeriodZone(t *testing.T) {
	for _, c := range []struct{ zone, utc, from, to string }{
		{"Europe/Berlin", "2026-03-28T23:30:00Z", "2026-03-23", "2026-03-29"}, // 00:30, clocks go forward at 2
		{"Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-23", "2026-03-29"}, // 23:59 of the short day
		{"Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-19", "2026-10-25"}, // 23:59 of the long day
		{"America/Santiago", "2026-09-06T04:00:00Z", "2026-08-31", "2026-09-06"},
		{"Pacific/Kiritimati", "2026-01-01T10:00:00Z", "2025-12-27", "2026-01-02"},
		{"Pacific/Pago_Pago", "2026-01-01T10:59:59Z", "2025-12-25", "2025-12-31"},
	} {
		utc, err := time.Parse(time.RFC3339, c.utc)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePeriod("7d", "", "", utc.In(zone(t, c.zone)), 0)
		if err != nil || p.From != day(t, c.from) || p.To != day(t, c.to) {
			t.Errorf("7d at %s in %s = %v to %v, %v, want %s to %s", c.utc, c.zone, p.From, p.To, err, c.from, c.to)
		}
	}
}

func TestPeriodBefore(t *testing.T) {
	for _, c := range []struct{ from, to, beforeFrom, beforeTo string }{
		{"2026-03-01", "2026-03-01", "2026-02-28", "2026-02-28"},
		{"2026-03-02", "2026-03-08", "2026-02-23", "2026-03-01"},
		{"2026-03-01", "2026-03-31", "2026-01-29", "2026-02-28"},
		{"2024-01-01", "2024-12-31", "2022-12-31", "2023-12-31"},
	} {
		p, err := ParsePeriod("custom", c.from, c.to, time.Time{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := p.Before()
		if b.From != day(t, c.beforeFrom) || b.To != day(t, c.beforeTo) || b.Days() != p.Days() || b.Interval != p.Interval {
			t.Errorf("before %s to %s = %+v, want %s to %s at the same interval", c.from, c.to, b, c.beforeFrom, c.beforeTo)
		}
	}
}

func TestPeriodBuckets(t *testing.T) {
	for _, c := range []struct {
		from, to string
		interval storage.Interval
		want     string
	}{
		{"2026-01-01", "2026-01-01", storage.Whole, "2026-01-01"},
		{"2026-01-01", "2026-03-01", storage.Whole, "2026-01-01"},
		{"2026-02-27", "2026-03-02", storage.ByDay, "2026-02-27 2026-02-28 2026-03-01 2026-03-02"},
		{"2026-02-27", "2026-02-28", storage.ByHour, "2026-02-27 2026-02-28"},
		{"2026-03-02", "2026-03-15", storage.ByWeek, "2026-03-02 2026-03-09"},            // Monday to Sunday
		{"2026-03-04", "2026-03-16", storage.ByWeek, "2026-03-04 2026-03-09 2026-03-16"}, // Wednesday to Monday
		{"2026-03-08", "2026-03-09", storage.ByWeek, "2026-03-08 2026-03-09"},            // Sunday, Monday
		{"1969-12-28", "1970-01-06", storage.ByWeek, "1969-12-28 1969-12-29 1970-01-05"},
		{"2025-12-31", "2026-02-01", storage.ByMonth, "2025-12-01 2026-01-01 2026-02-01"},
		{"2026-01-31", "2026-01-31", storage.ByMonth, "2026-01-01"},
	} {
		p := Period{From: day(t, c.from), To: day(t, c.to)}
		var got []string
		for _, d := range p.Buckets(c.interval) {
			got = append(got, d.String())
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("buckets of %s to %s by %d = %s, want %s", c.from, c.to, c.interval, s, c.want)
		}
	}
}
