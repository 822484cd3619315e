package dashboard

import (
	"math"

	"dachs/storage"
)

// tileKinds are the six numbers at the top of the report.
var tileKinds = []struct {
	metric storage.Metric
	label  string
	show   func(storage.Value) number
	worse  bool // more of it is worse
	points bool // it is a percentage: changes are told in points, not in percent of a percentage
	grows  bool // it only grows until the period is over
}{
	{metric: storage.Visitors, label: "Visitors", show: count, grows: true},
	{metric: storage.VisitsTotal, label: "Visits", show: count, grows: true},
	{metric: storage.PageViews, label: "Page views", show: count, grows: true},
	{metric: storage.ViewsPerVisit, label: "Views per visit", show: ratio},
	{metric: storage.BounceRate, label: "Bounce rate", show: percent, worse: true, points: true},
	{metric: storage.VisitDuration, label: "Visit duration", show: duration},
}

func tileMetrics() []storage.Metric {
	metrics := make([]storage.Metric, len(tileKinds))
	for i, k := range tileKinds {
		metrics[i] = k.metric
	}
	return metrics
}

// tile is one number with its change.
type tile struct {
	Metric string // name in the Stats API
	Label  string
	Value  number
	Before number
	Change change
}

// change says how a number moved. The arrow gives the direction and the words say whether that is good,
// so that the colour of the class is never needed to understand it.
type change struct {
	Arrow string // empty: nothing to say
	Text  string
	Class string // "good", "bad" or "even"
	Words string // for those who do not see the arrow
}

// tiles makes the tiles of a period; before is nil if there is nothing to compare with. The counts of an
// unfinished period are still growing, while those before are complete: no verdict is given on them.
func tiles(now, before []storage.Value, unfinished bool) []tile {
	list := make([]tile, len(tileKinds))
	for i, k := range tileKinds {
		list[i] = tile{Metric: k.metric.String(), Label: k.label, Value: k.show(now[i])}
		if before != nil {
			list[i].Before = k.show(before[i])
			list[i].Change = compare(now[i], before[i], k.worse, k.points)
			if unfinished && k.grows {
				list[i].Change = list[i].Change.withoutVerdict()
			}
		}
	}
	return list
}

const (
	noteEnteredHere = "Views per visit, bounce rate and visit duration are those of visits that began on this page."
	noteEnteredSet  = "Views per visit, bounce rate and visit duration are those of visits that began on one of these pages."
)

// ofEntries tells whether a metric under event:page speaks of the visits that began there, while counts speak
// of all visits that came by. Without a word about it, the numbers of a page contradict each other.
func ofEntries(m storage.Metric) bool {
	return m == storage.ViewsPerVisit || m == storage.BounceRate || m == storage.VisitDuration
}

// enteredNote says of which visits those metrics are, or nothing where they speak of the same as the counts, or are
// null: under event names and host names.
func enteredNote(q storage.Query) string {
	switch {
	case q.Uses(storage.Name) || q.Uses(storage.Hostname) || q.Uses(storage.Props) || !q.Uses(storage.Path):
		return ""
	case q.Single(storage.Path):
		return noteEnteredHere
	}
	return noteEnteredSet
}

// compare tells the change from before to now. Bounds are not compared: the difference of two bounds
// bounds nothing.
func compare(now, before storage.Value, worse, points bool) change {
	if now.Null || before.Null || now.AtMost || before.AtMost || before.Number == 0 && !points {
		return change{}
	}
	by, unit := now.Number-before.Number, " points"
	if !points {
		by, unit = by/before.Number*100, "%"
	}
	size := math.Abs(by)
	text := thousands(size) + unit
	switch {
	case size == 0:
		return change{Arrow: "=", Text: "same", Class: "even", Words: "as before"}
	case size < 1:
		return slight(by, points)
	case points && math.Round(size) == 1:
		text = "1 point"
	}
	switch {
	case by > 0 && worse:
		return change{"▲", text, "bad", "more than before, which is worse"}
	case by > 0:
		return change{"▲", text, "good", "more than before"}
	case worse:
		return change{"▼", text, "good", "less than before, which is better"}
	}
	return change{"▼", text, "bad", "less than before"}
}

// slight tells a change of less than a percent or a point: too little to be called good or bad.
func slight(by float64, points bool) change {
	c := change{Arrow: "▲", Text: "< 1%", Class: "even", Words: "more than before"}
	if by < 0 {
		c.Arrow, c.Words = "▼", "less than before"
	}
	if points {
		c.Text = "< 1 point"
	}
	return c
}

// withoutVerdict tells the change and does not call it good or bad.
func (c change) withoutVerdict() change {
	if c.Class == "bad" || c.Class == "good" {
		c.Class = "even"
		c.Words += " so far"
	}
	return c
}
