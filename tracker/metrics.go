package tracker

import (
	"bytes"
	"fmt"
	"os"
	"runtime/metrics"
	"strconv"

	"dachs/storage"

	"github.com/valyala/fasthttp"
)

// serveMetrics writes counters in Prometheus' text form. None has a label that names a site or anything of a visitor.
func (t *Tracker) serveMetrics(ctx *fasthttp.RequestCtx) {
	var m metricText
	m.hits(t)
	m.visitors(t)
	m.store(t.store.Stats())
	m.process()
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	ctx.SetBody(m.b.Bytes())
}

// metricText is a text in the making.
type metricText struct{ b bytes.Buffer }

// head begins a metric.
func (m *metricText) head(name, kind, help string) {
	fmt.Fprintf(&m.b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// one writes a metric of one number.
func (m *metricText) one(name, kind, help string, value float64) {
	m.head(name, kind, help)
	fmt.Fprintf(&m.b, "%s %s\n", name, decimal(value))
}

// decimal writes a number without an exponent as long as that is exact.
func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func zeroOrOne(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metricText) hits(t *Tracker) {
	outcomes := t.Outcomes()
	m.one("dachs_hits_accepted_total", "counter", "Hits that were counted and stored since the start.", float64(outcomes[Accepted]))
	m.head("dachs_hits_refused_total", "counter", "Hits that were not counted, by reason.")
	for _, r := range Reasons()[1:] {
		fmt.Fprintf(&m.b, "dachs_hits_refused_total{reason=%q} %d\n", r, outcomes[r])
	}
	m.head("dachs_values_replaced_total", "counter",
		"Hits that were counted under (other), since their site had too many values of the dimension that day.")
	for d := range cappedDimensions {
		fmt.Fprintf(&m.b, "dachs_values_replaced_total{dimension=%q} %d\n", d, t.capped[d].Load())
	}
	m.head("dachs_texts_replaced_total", "counter", "Texts in counted hits that pointed to a person and were replaced, by kind.")
	for r := range replacements {
		fmt.Fprintf(&m.b, "dachs_texts_replaced_total{kind=%q} %d\n", r, t.replaced[r].Load())
	}
}

// visitors are those of all sites together: on a small site the number would speak of a few people.
func (m *metricText) visitors(t *Tracker) {
	sites, visitors, size := 0, 0, 0
	t.lives.Range(func(_, v any) bool {
		l := v.(*live)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, d := range l.book.days {
			visitors += d.table.Visitors()
			size += d.table.Size()
		}
		sites++
		return true
	})
	m.one("dachs_visitors_in_memory", "gauge", "Visitors of the day, of all sites together.", float64(visitors))
	m.one("dachs_visitors_memory_bytes", "gauge", "What they take, by estimate.", float64(size))
	m.one("dachs_sites_in_memory", "gauge", "Sites that had a hit since the start.", float64(sites))
}

func (m *metricText) store(s storage.Stats) {
	m.one("dachs_queue_rows", "gauge", "Rows that wait to be stored.", float64(s.QueuedRows))
	m.one("dachs_queue_rows_max", "gauge", "Rows that may wait; what comes then is answered with 503.", float64(s.MaxQueued))
	m.one("dachs_fresh_rows", "gauge", "Sums of what was stored lately, in memory until they are written as one.", float64(s.FreshRows))
	m.one("dachs_fresh_rows_max", "gauge", "How many there may be; what comes then is answered with 503.", float64(s.MaxFresh))
	m.one("dachs_commits_total", "counter", "Commits of hits.", float64(s.Commits))
	m.one("dachs_commits_failed_total", "counter", "Commits of hits that failed.", float64(s.Failures))
	m.one("dachs_rows_stored_total", "counter", "Rows that those commits stored.", float64(s.Rows))
	m.head("dachs_commit_seconds", "histogram", "How long commits of hits took.")
	sum := uint64(0)
	for i, n := range s.CommitTimes {
		le := "+Inf"
		if sum += n; i < len(storage.CommitBounds) {
			le = decimal(storage.CommitBounds[i].Seconds())
		}
		fmt.Fprintf(&m.b, "dachs_commit_seconds_bucket{le=%q} %d\n", le, sum)
	}
	fmt.Fprintf(&m.b, "dachs_commit_seconds_sum %s\ndachs_commit_seconds_count %d\n", decimal(s.CommitTime.Seconds()), sum)
	if s.FreeBytes > 0 {
		m.one("dachs_disk_free_bytes", "gauge", "Free on the disk of the data.", float64(s.FreeBytes))
	}
	m.one("dachs_disk_needed_bytes", "gauge", "What has to be free, or hits are answered with 503.", float64(s.NeededBytes))
	m.one("dachs_store_failing", "gauge", "1 if the last commit failed.", zeroOrOne(s.Failing))
	m.one("dachs_store_damaged", "gauge", "1 if a file is not as it was written; see the log.", zeroOrOne(s.Damaged))
}

// processMetrics are those that the runtime knows.
var processMetrics = [...]struct{ name, source, kind, help string }{
	{"dachs_heap_bytes", "/memory/classes/heap/objects:bytes", "gauge", "Memory of live objects and of those not yet collected."},
	{"dachs_go_memory_bytes", "/memory/classes/total:bytes", "gauge", "Memory that the Go runtime has mapped."},
	{"dachs_gc_cycles_total", "/gc/cycles/total:gc-cycles", "counter", "Collections of garbage."},
	{"dachs_goroutines", "/sched/goroutines:goroutines", "gauge", "Goroutines; each open connection has one."},
}

func (m *metricText) process() {
	samples := make([]metrics.Sample, len(processMetrics))
	for i := range samples {
		samples[i].Name = processMetrics[i].source
	}
	metrics.Read(samples)
	for i, p := range processMetrics {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			m.one(p.name, p.kind, p.help, float64(samples[i].Value.Uint64()))
		}
	}
	if resident, ok := residentBytes(); ok {
		m.one("dachs_resident_bytes", "gauge", "Memory that the process has in use.", float64(resident))
	}
}

// residentBytes reads the resident set where Linux' /proc is there.
func residentBytes() (bytes uint64, ok bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	var size, resident uint64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, false
	}
	return resident * uint64(os.Getpagesize()), true
}
