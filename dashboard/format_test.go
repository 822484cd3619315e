package dashboard

import (
	"errors"
	"math"
	"testing"

	"dachs/storage"
)

func TestNumbers(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1500: "−1,500", -0.2: "0", 999.5: "1,000"} {
		if got := thousands(f); got != want {
			t.Errorf("thousands(%v) = %q, want %q", f, got, want)
		}
	}
	for f, want := range map[float64]string{0: "0", 2: "2", 2.189: "2.19", 2.5: "2.5", 1234.5: "1,235"} {
		if got := decimal(f); got != want {
			t.Errorf("decimal(%v) = %q, want %q", f, got, want)
		}
	}
	for f, want := range map[float64]string{0: "0s", 45.4: "45s", 59.6: "1m 00s", 83: "1m 23s", 3599.9: "1h 00m", 7500: "2h 05m"} {
		if got := minutes(f); got != want {
			t.Errorf("minutes(%v) = %q, want %q", f, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	f := func(got number, text string, bound, absent bool) {
		t.Helper()
		if got.Text != text || got.Bound != bound || got.Absent != absent || (got.Why == "") != (!bound && !absent) {
			t.Errorf("%+v, want %q", got, text)
		}
	}
	f(count(storage.Value{Number: 1234}), "1,234", false, false)
	f(count(storage.Value{Number: 1234, Low: 1200, AtMost: true}), "≤ 1,234", true, false)
	f(percent(storage.Value{Number: 45.6}), "46%", false, false)
	f(duration(storage.Value{Null: true}), "–", false, true)
}

func TestShare(t *testing.T) {
	of := func(n float64) storage.Value { return storage.Value{Number: n} }
	for _, c := range []struct {
		part, whole storage.Value
		want        string
	}{
		{of(1), of(4), "25%"}, {of(1), of(30), "3.3%"}, {of(1), of(5000), "< 0.1%"}, {of(0), of(5), "0.0%"}, {of(5), of(5), "100%"},
		{of(1), of(0), ""}, {of(1), storage.Value{Null: true}, ""}, {storage.Value{Number: 1, AtMost: true}, of(2), ""},
	} {
		if got := share(c.part, c.whole); got != c.want {
			t.Errorf("share(%v, %v) = %q, want %q", c.part, c.whole, got, c.want)
		}
	}
	if barWidth(1, 1e9) != "0.5" || barWidth(0, 5) != "0" || barWidth(5, 5) != "100.0" || barWidth(1, 0) != "0" {
		t.Error("bar widths")
	}
}

func TestSpan(t *testing.T) {
	for _, c := range [][3]string{
		{"2026-03-01", "2026-03-01", "Sun 1 Mar 2026"}, {"2026-03-01", "2026-03-09", "1 – 9 Mar 2026"},
		{"2026-03-01", "2026-04-02", "1 Mar – 2 Apr 2026"}, {"2025-12-31", "2026-01-01", "31 Dec 2025 – 1 Jan 2026"},
	} {
		if got := span(day(t, c[0]), day(t, c[1])); got != c[2] {
			t.Errorf("%s to %s: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestSentence(t *testing.T) {
	for in, want := range map[string]string{"a b": "A b.", "étage": "Étage.", "Done.": "Done.", "": ""} {
		if got := sentence(errors.New(in)); got != want {
			t.Errorf("sentence(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestGridStep(t *testing.T) {
	for highest, want := range map[float64]float64{0: 1, 1: 1, 4: 1, 5: 2, 8: 2, 9: 5, 20: 5, 21: 10, 275: 100, 1e6: 500000} {
		got := gridStep(highest)
		if got != want || math.Ceil(highest/got) > gridSteps {
			t.Errorf("gridStep(%v) = %v, want %v", highest, got, want)
		}
	}
}

func TestCountries(t *testing.T) {
	names := countryNames()
	for code, want := range map[string]string{"DE": "Germany", "GB": "United Kingdom", "CI": "Côte d'Ivoire", "XK": "Kosovo"} {
		if names[code] != want {
			t.Errorf("%s is %q, want %q", code, names[code], want)
		}
	}
	if len(names) < 249 {
		t.Errorf("%d countries", len(names))
	}
	if countryFlag("DE") != "🇩🇪" || countryFlag("de") != "" || countryFlag("") != "" || countryFlag("DEU") != "" {
		t.Error("flags")
	}
}
