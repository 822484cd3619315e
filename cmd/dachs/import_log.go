package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"dachs/storage"
	"dachs/tracker"
	"dachs/tracker/accesslog"
)

const (
	// importDays is how many days of log are counted at once. Servers write a line when its request ends, so
	// logs are in order but for minutes; two days are open around midnight, one more is for logs that were
	// merged from several servers. Every open day costs memory for each of its visitors.
	importDays = 3
	// importBatch is how many rows are handed to the store at once: about 5 MB.
	importBatch = 8192
	// progressEvery is how often the command hears of progress: often enough to see that it lives.
	progressEvery = 200 * time.Millisecond
	// progressLines is after how many lines the clock is looked at.
	progressLines = 1024
)

// importStep is one line of the answer of POST /import/log. The last one has a Report or an Error; an answer
// without either was cut off.
type importStep struct {
	Progress *importProgress `json:"progress,omitempty"`
	Report   *importReport   `json:"report,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// importProgress says how far an import is.
type importProgress struct {
	Lines int64 `json:"lines"`
	Bytes int64 `json:"bytes"` // after decompression
}

// importReport sums up an import: Lines = PageViews + all of Refused.
type importReport struct {
	Site      string           `json:"site"`
	TimeZone  string           `json:"timezone"`
	Lines     int64            `json:"lines"`
	Bytes     int64            `json:"bytes"` // after decompression
	PageViews int64            `json:"pageviews"`
	Visits    int64            `json:"visits"`
	Visitors  int64            `json:"visitors"`                 // sum of the daily ones
	Refused   map[string]int64 `json:"refused"`                  // by reason
	Malformed map[string]int64 `json:"malformed,omitempty"`      // what was wrong with the lines refused as malformed
	First     string           `json:"first,omitempty"`          // days of the counted page views
	Last      string           `json:"last,omitempty"`           //
	NoAgents  bool             `json:"no_user_agents,omitempty"` // page views without a field for the user agent were counted
	Keep      int              `json:"keep,omitempty"`           // days for which the site keeps details now, if the log made it keep more
	Other     int64            `json:"other,omitempty"`          // page views counted under (other) in a dimension
	Overlap   bool             `json:"overlap,omitempty"`        // the site had counts within First and Last before
}

// refused returns the sum of Refused.
func (r *importReport) refused() (n int64) {
	for _, v := range r.Refused {
		n += v
	}
	return n
}

// importLog counts the access log in the request's body. It answers while it reads, in lines of JSON, so
// that the command can show progress. A body that does not end properly (the command was stopped, its file
// cannot be read) counts nothing.
func (a *admin) importLog(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	site, ok := a.site(w, q.Get("site"))
	if !ok {
		return
	}
	format, err := accesslog.ParseFormat(q.Get("format"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	in, err := a.newLogImport(site)
	if err != nil {
		refuseStore(w, err)
		return
	}
	defer in.close()
	in.allHosts = q.Get("hosts") == "all"

	out := newStepWriter(w, a.now)
	report, err := in.run(r.Context(), r.Body, format, q.Get("again") == "1", out.progress)
	if err != nil {
		out.send(importStep{Error: err.Error()})
		return
	}
	out.send(importStep{Report: report})
}

// stepWriter sends the lines of the answer, each at once.
type stepWriter struct {
	enc  *json.Encoder
	ctl  *http.ResponseController
	now  func() time.Time
	last time.Time
}

func newStepWriter(w http.ResponseWriter, now func() time.Time) *stepWriter {
	s := &stepWriter{json.NewEncoder(w), http.NewResponseController(w), now, now()}
	// HTTP/1 would read the whole body before the first byte of the answer. Where the writer cannot do
	// otherwise the report comes all the same, only without progress before it.
	_ = s.ctl.EnableFullDuplex()
	w.Header().Set("Content-Type", "application/jsonl")
	w.WriteHeader(http.StatusOK)
	_ = s.ctl.Flush()
	return s
}

// send does not look at errors: when the command is gone, reading the body fails next.
func (s *stepWriter) send(step importStep) {
	_ = s.enc.Encode(step)
	_ = s.ctl.Flush()
}

func (s *stepWriter) progress(p importProgress) {
	if now := s.now(); now.Sub(s.last) >= progressEvery {
		s.last = now
		s.send(importStep{Progress: &p})
	}
}

// logImport is one import of an access log. One goroutine uses it.
type logImport struct {
	store    *storage.DB
	site     storage.Site
	enricher *tracker.Enricher
	rules    *tracker.Rules
	refused  importRefusals
	book     *tracker.Book
	into     *storage.Import
	rows     []storage.Row
	allHosts bool // count hosts that do not belong to the site's domain too
	seen     logPrint
	report   importReport
}

func (a *admin) newLogImport(site storage.Site) (*logImport, error) {
	enricher, err := tracker.NewEnricher(tracker.EnricherOptions{Geo: a.geo})
	if err != nil {
		return nil, err
	}
	into, err := a.store.BeginImport(site.ID)
	if err != nil {
		return nil, err
	}
	return &logImport{
		store: a.store, site: site, into: into,
		book:     tracker.NewBook(a.store, site, importDays, rand.Reader),
		enricher: enricher,
		rules:    tracker.NewRules(&site.Settings, a.dataCentres),
		rows:     make([]storage.Row, 0, importBatch),
		seen:     logPrint{zone: site.Location()},
		report: importReport{
			Site: site.Domain, TimeZone: site.TimeZone, Refused: map[string]int64{}, Malformed: map[string]int64{},
		},
	}, nil
}

// close drops what was not committed.
func (in *logImport) close() {
	_ = in.into.Rollback() // what a failed one leaves is invisible, and dropped when the store opens
	in.book.Close()
}

// run counts the log. On an error nothing is counted.
func (in *logImport) run(ctx context.Context, log io.Reader, f accesslog.Format, again bool, progress func(importProgress)) (*importReport, error) {
	lines, err := accesslog.NewReader(log, f)
	if err != nil {
		return nil, fmt.Errorf("import log: %w; nothing was counted", err)
	}
	for err == nil {
		if lines.Lines()%progressLines == 0 {
			progress(importProgress{lines.Lines(), lines.Bytes()})
			if ctx.Err() != nil {
				return nil, fmt.Errorf("import log: %w", ctx.Err())
			}
		}
		err = in.line(lines.Next())
	}
	if err != io.EOF {
		return nil, fmt.Errorf("import log: %w; nothing was counted", err)
	}
	return in.finish(lines, again)
}

// line counts or refuses one line. Its errors are final.
func (in *logImport) line(q accesslog.Request, err error) error {
	var bad *accesslog.LineError
	switch {
	case errors.As(err, &bad):
		in.refuse(tracker.Malformed)
		in.report.Malformed[bad.Cause]++
		in.seen.addUnreadable()
		return nil
	case err != nil:
		return err
	}
	in.seen.add(&q)
	hit, why := in.judge(&q)
	if why == tracker.Accepted {
		in.rows, why = in.book.Count(q.Addr, q.UserAgent, hit, q.Time, in.rows)
	}
	if why != tracker.Accepted {
		in.refuse(why)
		in.refused.add(q.Time.In(in.seen.zone), why)
		return nil
	}
	in.accept(&q)
	if len(in.rows) < importBatch {
		return nil
	}
	return in.flush()
}

// judge says what a line counts as, or why it does not.
func (in *logImport) judge(q *accesslog.Request) (tracker.Hit, tracker.Reason) {
	switch q.Judge() {
	case accesslog.NotGet:
		return tracker.Hit{}, tracker.Method
	case accesslog.NotServed:
		return tracker.Hit{}, tracker.Status
	case accesslog.Asset:
		return tracker.Hit{}, tracker.Asset
	}
	host := q.Host
	if host == "" || host == "_" { // nginx's name for "any"
		host = in.site.Domain
	}
	if !in.allHosts && len(in.site.Settings.Hosts) == 0 && host != in.site.Domain && !strings.HasSuffix(host, "."+in.site.Domain) {
		return tracker.Hit{}, tracker.UnknownSite
	}
	switch {
	case q.GPC:
		return tracker.Hit{}, tracker.GPC
	case q.DNT:
		return tracker.Hit{}, tracker.DNT
	}
	return in.enrich(q, "https://"+host+q.Target)
}

// noAgent stands for the user agents of a log that has none: an empty one is that of a program.
const noAgent = "Mozilla/5.0 (unknown)"

func (in *logImport) enrich(q *accesslog.Request, url string) (tracker.Hit, tracker.Reason) {
	c := &tracker.Client{Addr: q.Addr, UserAgent: q.UserAgent, Language: q.Language, Purpose: q.Purpose}
	if !q.AgentKnown {
		c.UserAgent = noAgent
	}
	hit, why, _ := in.enricher.Enrich(&tracker.Payload{
		Name: storage.PageViewName, URL: url, Domain: in.site.Domain, Referrer: q.Referrer, Interactive: true, Scroll: -1,
	}, c, &in.site)
	if why == tracker.Malformed {
		in.report.Malformed["no valid page address"]++
	}
	if !q.AgentKnown {
		hit.Attributes.Device = "" // the default of browsers that say nothing is a guess here
	}
	if why == tracker.Accepted {
		why = in.rules.Judge(c, &hit)
	}
	return hit, why
}

func (in *logImport) refuse(why tracker.Reason) { in.report.Refused[why.String()]++ }

func (in *logImport) accept(q *accesslog.Request) {
	in.seen.addDay(storage.DayOf(q.Time.In(in.seen.zone)))
	in.report.PageViews++
	in.report.NoAgents = in.report.NoAgents || !q.AgentKnown
}

// flush hands the rows to the store. Visits and visitors are added up from them: the report then says what
// the dashboard will.
func (in *logImport) flush() error {
	for i := range in.rows {
		if r := &in.rows[i]; r.Table == storage.Visits {
			in.report.Visits += r.Sums[storage.VisitCount]
			in.report.Visitors += r.Sums[storage.VisitVisitors]
		}
	}
	err := in.into.Append(in.rows...)
	clear(in.rows)
	in.rows = in.rows[:0]
	return err
}

// finish makes the import count, unless there is nothing in it.
func (in *logImport) finish(lines *accesslog.Reader, again bool) (*importReport, error) {
	r := &in.report
	r.Lines, r.Bytes, r.Other = lines.Lines(), lines.Bytes(), in.book.Other()
	if n := r.Refused[tracker.Malformed.String()]; n == r.Lines && n > 0 {
		return nil, fmt.Errorf("import log: none of %d lines can be read; known formats are combined and common "+
			"(Apache, nginx; with or without virtual host) and Caddy's JSON", n)
	}
	if r.PageViews == 0 {
		return r, nil
	}
	in.rows = in.refused.rows(in.site.ID, in.rows)
	if err := in.flush(); err != nil {
		return nil, fmt.Errorf("import log: %w", err)
	}
	first, last, ok, err := in.store.Days(in.site.ID)
	if err != nil {
		return nil, fmt.Errorf("import log: %w", err)
	}
	r.First, r.Last = in.seen.First.String(), in.seen.Last.String()
	r.Overlap = ok && first <= in.seen.Last && last >= in.seen.First

	err = in.into.Commit(in.seen.finish(), again)
	if errors.Is(err, storage.ErrImported) {
		return nil, fmt.Errorf("import log: this log was imported into %s before; --again counts it once more", r.Site)
	}
	if err != nil {
		return nil, fmt.Errorf("import log: %w", err)
	}
	if keep, ok := in.into.Extended(); ok {
		r.Keep = keep.Detail
	}
	return r, nil
}
