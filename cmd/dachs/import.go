package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"dachs/tracker"

	"golang.org/x/term"
)

// importCmd is `dachs import`.
type importCmd struct {
	Log importLogCmd `cmd:"" help:"Count the page views in a web server's access log."`
}

// importLogCmd is `dachs import log`.
type importLogCmd struct {
	File     string `arg:"" help:"Access log, compressed with gzip or not; - for standard input. A day that several files share must be imported in one go, oldest first: zcat -f access.log.2.gz access.log.1 | dachs import log - ..."`
	Site     string `help:"Domain of the site to count into. Lines of virtual hosts outside this domain are refused." required:"" placeholder:"DOMAIN"`
	Again    bool   `help:"Count a log that was imported before once more."`
	Format   string `help:"Format of the log: auto, common, combined, vhost_common, vhost_combined or caddy. nginx writes combined." default:"auto" enum:"auto,common,combined,vhost_common,vhost_combined,caddy" placeholder:"FORMAT"`
	AllHosts bool   `help:"Count lines of virtual hosts outside the site's domain too."`
	JSON     bool   `help:"Write the report as JSON." name:"json"`
	GeoIP    string `help:"MaxMind or DB-IP country or city file, if no server runs; a running one uses its own." name:"geoip" env:"DACHS_GEOIP" placeholder:"FILE.mmdb"`
}

// Run streams the log to whoever has the store open.
func (c *importLogCmd) Run(ctx context.Context, a *app) error {
	log, err := c.open(a)
	if err != nil {
		return err
	}
	defer log.Close()
	conn, err := a.connect(ctx, local{GeoIP: c.GeoIP})
	if err != nil {
		return err
	}
	defer conn.Close()

	query := url.Values{"site": {c.Site}, "format": {c.Format}}
	if c.Again {
		query.Set("again", "1")
	}
	if c.AllHosts {
		query.Set("hosts", "all")
	}
	body := &sentLog{r: log}
	report, err := c.send(ctx, a, conn, "/import/log?"+query.Encode(), body)
	if err != nil {
		return c.explain(ctx, err, body)
	}
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(report)
	}
	return report.print(a.stdout)
}

func (c *importLogCmd) open(a *app) (io.ReadCloser, error) {
	if c.File == "-" {
		return io.NopCloser(a.stdin), nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, usagef("read log: %w", err)
	}
	return f, nil
}

// errCutOff says that the other side ended before it had said how it went.
var errCutOff = errors.New("the answer ended early")

// importError is the other side's own word on why nothing was counted.
type importError string

func (e importError) Error() string { return string(e) }

func (c *importLogCmd) send(ctx context.Context, a *app, conn *client, path string, body io.Reader) (*importReport, error) {
	resp, err := conn.do(ctx, "POST", path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	show := newProgressLine(a)
	defer show.clear()
	for dec := json.NewDecoder(resp.Body); ; {
		var step importStep
		if err := dec.Decode(&step); err != nil {
			return nil, errors.Join(errCutOff, err)
		}
		switch {
		case step.Error != "":
			return nil, importError(step.Error)
		case step.Report != nil:
			return step.Report, nil
		case step.Progress != nil:
			show.update(*step.Progress)
		}
	}
}

// explain adds to an error whether something was counted: that is what the person has to know.
func (c *importLogCmd) explain(ctx context.Context, err error, body *sentLog) error {
	var refused *answerError
	switch {
	case errors.As(err, &refused), errors.As(err, new(importError)) && body.err() == nil:
		return err
	case body.err() != nil:
		return fmt.Errorf("read log: %w; nothing was counted", body.err())
	case !body.done.Load() && ctx.Err() != nil:
		return errors.New("import log: interrupted; nothing was counted")
	case !body.done.Load():
		return fmt.Errorf("import log: %w; nothing was counted", err)
	}
	// The store had the whole log, and the answer is lost.
	return fmt.Errorf("import log: %w before the report; run the command again: it is refused if the log was counted", err)
}

// sentLog passes a log on and remembers how that ended. Only a body that was read to its end can be counted.
type sentLog struct {
	r      io.Reader
	done   atomic.Bool
	failed atomic.Pointer[error]
}

func (s *sentLog) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	switch {
	case err == io.EOF:
		s.done.Store(true)
	case err != nil:
		s.failed.Store(&err)
	}
	return n, err
}

func (s *sentLog) err() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// progressLine keeps one line of a terminal up to date. On anything else it is silent.
type progressLine struct {
	w     io.Writer // nil: no terminal
	now   func() time.Time
	start time.Time
}

func newProgressLine(a *app) *progressLine {
	p := &progressLine{now: a.now, start: a.now()}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = f
	}
	return p
}

// update shows how far an import is.
func (p *progressLine) update(now importProgress) {
	rate := float64(now.Lines) / max(p.now().Sub(p.start).Seconds(), 0.001)
	p.show(fmt.Sprintf("%s lines, %.1f MB, %s lines/s", grouped(now.Lines), float64(now.Bytes)/1e6, grouped(int64(rate))))
}

// show replaces the line.
func (p *progressLine) show(text string) {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K", text)
	}
}

func (p *progressLine) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// reasonTexts say what the report's reasons mean.
var reasonTexts = map[tracker.Reason]string{
	tracker.GPC:         "sent Global Privacy Control",
	tracker.DNT:         "sent Do Not Track",
	tracker.UnknownSite: "other hosts than the site's; --all-hosts counts them too",
	tracker.Bot:         "programs, by their user agent",
	tracker.Prefetch:    "fetched ahead of time",
	tracker.Spam:        "a spammer as referrer",
	tracker.DataCentre:  "from a data centre",
	tracker.Network:     "from a network that the site leaves out",
	tracker.Agent:       "a user agent that the site leaves out",
	tracker.Host:        "a host that the site does not allow",
	tracker.Path:        "a page that the site leaves out",
	tracker.Country:     "from a country that the site leaves out",
	tracker.Malformed:   "cannot be read",
	tracker.Asset:       "parts of pages, downloads, feeds",
	tracker.Method:      "not GET",
	tracker.Status:      "errors and redirects",
	tracker.Overloaded:  "more visitors and pages in one day than fit into memory; split the log",
	tracker.OutOfOrder:  "of a day that was closed before; import the oldest lines first",
}

// print writes the report for people.
func (r *importReport) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(n int64, what, note string) {
		if note != "" {
			what += " (" + note + ")"
		}
		// The last cell is not padded, so that it stays to the left.
		fmt.Fprintf(tw, "%s\t  %s\n", grouped(n), what)
	}
	row(r.Lines, "lines read", fmt.Sprintf("%.1f MB", float64(r.Bytes)/1e6))
	row(r.PageViews, "page views counted", "")
	row(r.refused(), "lines refused", "")
	for _, why := range tracker.Reasons() {
		if n := r.Refused[why.String()]; n > 0 {
			row(n, "- "+why.String(), reasonTexts[why])
		}
		if why == tracker.Malformed {
			for _, cause := range slices.Sorted(maps.Keys(r.Malformed)) {
				row(r.Malformed[cause], "  - "+cause, "")
			}
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	_, err := io.WriteString(w, r.summary())
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// summary says in sentences what the numbers alone do not.
func (r *importReport) summary() string {
	if r.PageViews == 0 {
		return "Nothing was counted.\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Added to %s: %s visits by %s visitors, from %s to %s (%s). Visitors are the sum of the daily ones.\n",
		r.Site, grouped(r.Visits), grouped(r.Visitors), r.First, r.Last, r.TimeZone)
	if r.NoAgents {
		b.WriteString("The log has no user agents: bots could not be told from people, and visitors only by their addresses.\n")
	}
	if r.Keep > 0 {
		fmt.Fprintf(&b, "The log is older than what was kept so far. Details of %s are kept for %s days now; `dachs site keep %s` shows and changes that.\n",
			r.Site, grouped(int64(r.Keep)), r.Site)
	}
	if r.Other > 0 {
		fmt.Fprintf(&b, "%s page views came after so many different pages, hosts, referrers or versions in one day that they are counted as %s there.\n",
			grouped(r.Other), tracker.OtherValue)
	}
	if r.Overlap {
		b.WriteString("The site had counts for some of these days before: who was counted there already is counted as another visitor here.\n")
	}
	return b.String()
}

// grouped writes a number with commas between groups of three digits.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
