package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"dachs/storage"
)

// The chart is an SVG without a viewBox: heights are pixels and horizontal places are percentages, so that
// it fills any width while letters keep their size. Only the lines lie in an inner drawing that is
// stretched; it is bucketWidth units wide for each bucket, which keeps its places short in the page.
const (
	bucketWidth = 10
	chartHeight = 200 // pixels of the plot
	chartTop    = 16  // pixels above it, for the label of the highest grid line
	chartBottom = 26  // pixels below it, for the labels of the buckets
	gridSteps   = 4   // at most so many grid lines above zero
	maxLabels   = 12  // at most so many labels below; on narrow screens every second one is hidden
)

// chart is what chart.gohtml draws and lists.
type chart struct {
	Note    string // in place of the chart
	Summary string // what a screen reader says for the drawing
	Height  int    // of the whole drawing
	Top     int    // y of the plot's upper edge
	Plot    int    // height of the plot
	Wide    int    // width of the inner drawing in its own units
	Base    int    // y of the plot's lower edge
	LabelY  int
	Step    string // width of a bucket in percent
	Unit    string // what a bucket is: "Hour", "Day", "Month"
	Grid    []gridLine
	Buckets []bucket
	Area    string // path under the line of visitors
	Line    string // path of visitors
	Views   string // path of page views
	Bounds  bool
	Parts   string // says that some days were counted in parts

	// The last stretches of both, if the last bucket is not over.
	LineRest, ViewsRest string
}

type gridLine struct {
	Y      string
	LabelY string
	Label  string
}

// bucket is one point in time.
type bucket struct {
	Label    string // below the axis; empty for most
	Minor    bool   // the label may be left out where space is scarce
	Title    string // full date
	Link     string // the report of this bucket alone; empty for hours
	Visitors number
	Views    number
	Known    bool // it has begun
	Partial  bool // it is not over
	Parts    bool // it was counted in parts

	X, Left   string // percent
	VisitorsY string // pixels from the top of the drawing
	ViewsY    string

	visitors, views float64
}

// newChart lays out a series. now is the time at the site: what has not begun is not drawn as zero.
func newChart(st state, a answer, now time.Time) *chart {
	if a.err != nil {
		return &chart{Note: why(a.err, st.period.Interval)}
	}
	c := &chart{
		Height: chartTop + chartHeight + chartBottom, Top: chartTop, Plot: chartHeight,
		Base: chartTop + chartHeight, LabelY: chartTop + chartHeight + 18,
	}
	c.Unit, c.Buckets = emptyBuckets(st, now)
	c.fill(st.period, a.res)
	c.layOut()
	c.Summary = c.summary(st.period)
	return c
}

// mark marks the buckets of days that were counted in parts.
func (c *chart) mark(p Period, days map[storage.Day]map[string]int64) {
	if len(days) == 0 || c.Note != "" {
		return
	}
	c.Parts = "The server was restarted on this day. Who came before and after that counts as two visitors."
	if p.Interval == storage.ByHour {
		return
	}
	c.Parts = "Days with a mark were counted in parts, since the server was restarted. Who came before and after that counts as two visitors."
	place := map[storage.Day]int{}
	for i, d := range p.Buckets(p.Interval) {
		place[d] = i
	}
	for day := range days {
		if i, ok := place[p.bucketLabel(day, p.Interval)]; ok {
			c.Buckets[i].Parts = true
		}
	}
}

// emptyBuckets lists the buckets of a period in order, without numbers.
func emptyBuckets(st state, now time.Time) (unit string, buckets []bucket) {
	p, today := st.period, storage.DayOf(now)
	if p.Interval == storage.ByHour {
		for hour := range 24 {
			b := bucket{
				Title: p.From.Date().Format(longDay) + ", " + hourLabel(hour),
				Known: p.From < today || p.From == today && hour <= now.Hour(), Partial: p.From == today && hour == now.Hour(),
			}
			if hour%3 == 0 {
				b.Label, b.Minor = hourLabel(hour), hour%6 != 0
			}
			buckets = append(buckets, b)
		}
		return "Hour", buckets
	}
	days := p.Buckets(p.Interval)
	every := (len(days) + maxLabels - 1) / maxLabels
	for i, d := range days {
		end := d
		if i+1 < len(days) {
			end = days[i+1] - 1
		} else {
			end = p.To
		}
		b := dayBucket(st, d, end, today)
		if i%every != 0 {
			b.Label = ""
		}
		b.Minor = i/every%2 == 1
		buckets = append(buckets, b)
	}
	if p.Interval == storage.ByMonth {
		return "Month", buckets
	}
	return "Day", buckets
}

// dayBucket makes the bucket from one day to another.
func dayBucket(st state, from, to, today storage.Day) bucket {
	b := bucket{Known: from <= today, Partial: from <= today && today <= to}
	link := st.withPanel("")
	if st.period.Interval == storage.ByMonth {
		b.Title, b.Label = from.Date().Format("January 2006"), from.Date().Format("Jan")
		if from.Date().Month() == time.January {
			b.Label = from.Date().Format("2006")
		}
		from, to = max(from, st.period.From), min(to, st.period.To)
	} else {
		b.Title, b.Label = from.Date().Format(longDay), from.Date().Format(shortDay)
	}
	link.period = Period{Name: custom, From: from, To: to}
	b.Link = link.link()
	return b
}

// fill puts the numbers into their buckets. Buckets that the store leaves out are zero.
func (c *chart) fill(p Period, res storage.Result) {
	zero := count(storage.Value{})
	for i := range c.Buckets {
		c.Buckets[i].Visitors, c.Buckets[i].Views = zero, zero
	}
	place := map[storage.Day]int{}
	for i, d := range p.Buckets(p.Interval) {
		place[d] = i
	}
	for _, row := range res.Rows {
		i, ok := place[p.bucketLabel(row.Day, p.Interval)]
		if p.Interval == storage.ByHour {
			i, ok = row.Hour, row.Hour >= 0 && row.Hour < len(c.Buckets)
		}
		if !ok {
			continue
		}
		b := &c.Buckets[i]
		b.Visitors, b.Views = count(row.Values[0]), count(row.Values[1])
		b.visitors, b.views = row.Values[0].Number, row.Values[1].Number
		c.Bounds = c.Bounds || b.Visitors.Bound || b.Views.Bound
	}
}

// layOut turns numbers into places.
func (c *chart) layOut() {
	highest := 0.0
	for _, b := range c.Buckets {
		highest = max(highest, b.visitors, b.views)
	}
	step := gridStep(highest)
	top := step * max(1, math.Ceil(highest/step))
	for v := step; v <= top; v += step {
		y := plotY(v, top)
		c.Grid = append(c.Grid, gridLine{Y: pixels(chartTop + y), LabelY: pixels(chartTop + y - 4), Label: thousands(v)})
	}
	n := float64(len(c.Buckets))
	c.Step, c.Wide = fraction(1/n), len(c.Buckets)*bucketWidth
	var visitors, views []point
	for i := range c.Buckets {
		b := &c.Buckets[i]
		middle := float64(i) + 0.5
		b.Left, b.X = fraction(float64(i)/n), fraction(middle/n)
		b.VisitorsY = pixels(chartTop + plotY(b.visitors, top))
		if b.Known {
			visitors = append(visitors, point{middle * bucketWidth, plotY(b.visitors, top)})
			views = append(views, point{middle * bucketWidth, plotY(b.views, top)})
		}
	}
	c.drawLines(visitors, views)
}

// drawLines makes the paths. The stretches that lead to an unfinished bucket are paths of their own: they are
// drawn differently, since they fall for no other reason than that the day is not over.
func (c *chart) drawLines(visitors, views []point) {
	if len(visitors) == 0 {
		return
	}
	c.Area = linePath(visitors) + fmt.Sprintf("L%s %dL%s %dZ",
		pixels(visitors[len(visitors)-1].x), chartHeight, pixels(visitors[0].x), chartHeight)
	if last := len(visitors) - 1; last > 0 && c.Buckets[last].Partial {
		c.LineRest, c.ViewsRest = linePath(visitors[last-1:]), linePath(views[last-1:])
		visitors, views = visitors[:last], views[:last]
	}
	c.Line, c.Views = linePath(visitors), linePath(views)
}

// summary says in one sentence what the drawing shows.
func (c *chart) summary(p Period) string {
	best := -1
	for i, b := range c.Buckets {
		if b.visitors > 0 && (best < 0 || b.visitors > c.Buckets[best].visitors) {
			best = i
		}
	}
	text := fmt.Sprintf("Visitors and page views by %s, %s.", strings.ToLower(c.Unit), span(p.From, p.To))
	if best >= 0 {
		text += fmt.Sprintf(" Most visitors: %s, %s.", c.Buckets[best].Visitors.Text, c.Buckets[best].Title)
	}
	return text
}

// gridStep is the distance of grid lines: 1, 2 or 5 times a power of ten, and at most gridSteps of them.
func gridStep(highest float64) float64 {
	for unit := 1.0; ; unit *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if m*unit*gridSteps >= highest {
				return m * unit
			}
		}
	}
}

type point struct{ x, y float64 }

func linePath(points []point) string {
	var b strings.Builder
	for i, p := range points {
		if i == 0 {
			b.WriteByte('M')
		} else {
			b.WriteByte('L')
		}
		b.WriteString(pixels(p.x) + " " + pixels(p.y))
	}
	return b.String()
}

// plotY is the place of a value, in pixels below the plot's upper edge.
func plotY(v, top float64) float64 { return chartHeight * (1 - v/top) }

// pixels rounds to a tenth: finer than any screen, short in the page.
func pixels(f float64) string { return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) }

// fraction writes a share of the width as a number of percent.
func fraction(f float64) string { return strconv.FormatFloat(math.Round(f*10000)/100, 'f', -1, 64) }
