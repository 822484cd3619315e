package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"dachs/storage"
)

// number is a value ready to be read.
type number struct {
	Text   string
	Why    string // explains a number that is not exact or not there; empty for a plain one
	Bound  bool   // the text is an upper bound
	Absent bool   // there is no number
}

// format writes v with a function for the unit.
func format(v storage.Value, unit func(float64) string) number {
	switch {
	case v.Null:
		return number{Text: "–", Why: "This number has no meaning here.", Absent: true}
	case v.AtMost:
		return number{
			Text: "≤ " + unit(v.Number), Bound: true,
			Why: fmt.Sprintf("The exact number cannot be known without a record per visitor. It lies between %s and %s.",
				unit(v.Low), unit(v.Number)),
		}
	}
	return number{Text: unit(v.Number)}
}

func count(v storage.Value) number { return format(v, thousands) }
func ratio(v storage.Value) number { return format(v, decimal) }
func percent(v storage.Value) number {
	return format(v, func(f float64) string { return thousands(f) + "%" })
}
func duration(v storage.Value) number { return format(v, minutes) }

// thousands writes a whole number with a comma before every three digits.
func thousands(f float64) string {
	digits := strconv.FormatInt(int64(math.Round(math.Abs(f))), 10)
	var b strings.Builder
	if f < 0 && digits != "0" {
		b.WriteString("−")
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// decimal writes a small ratio with up to two decimals, a large one as a whole number.
func decimal(f float64) string {
	if math.Abs(f) >= 1000 {
		return thousands(f)
	}
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
}

// minutes writes a number of seconds as 45s, 1m 23s or 2h 05m.
func minutes(seconds float64) string {
	n := int64(math.Round(seconds))
	switch {
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 3600:
		return fmt.Sprintf("%dm %02ds", n/60, n%60)
	}
	return fmt.Sprintf("%dh %02dm", n/3600, n%3600/60)
}

// share writes part of whole in percent, or nothing where either is not known well enough.
func share(part, whole storage.Value) string {
	if part.Null || part.AtMost || whole.Null || whole.AtMost || whole.Number <= 0 {
		return ""
	}
	switch p := part.Number / whole.Number * 100; {
	case p > 0 && p < 0.1:
		return "< 0.1%"
	case p < 10:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + "%"
	}
}

// barWidth is a percentage for an SVG attribute. A bar that stands for something is never invisible.
func barWidth(n, longest float64) string {
	if longest <= 0 || n <= 0 {
		return "0"
	}
	return strconv.FormatFloat(max(n/longest*100, 0.5), 'f', 1, 64)
}

// Calendar formats. Day before month, month by name: readable to everyone, mistaken by no one.
const (
	shortDay = "2 Jan"
	fullDay  = "2 Jan 2006"
	longDay  = "Mon 2 Jan 2006"
)

// span writes a range of days without repeating what both ends share.
func span(from, to storage.Day) string {
	a, b := from.Date(), to.Date()
	switch {
	case from == to:
		return a.Format(longDay)
	case a.Year() != b.Year():
		return a.Format(fullDay) + " – " + b.Format(fullDay)
	case a.Month() != b.Month():
		return a.Format(shortDay) + " – " + b.Format(fullDay)
	}
	return strconv.Itoa(a.Day()) + " – " + b.Format(fullDay)
}

// hourLabel names a clock hour.
func hourLabel(hour int) string {
	return time.Date(2000, 1, 1, hour, 0, 0, 0, time.UTC).Format("15:04")
}

// sentence turns an error, which begins in lower case and has no dot, into one that people read.
func sentence(err error) string {
	text := err.Error()
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	text = string(unicode.ToUpper(first)) + text[size:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}
