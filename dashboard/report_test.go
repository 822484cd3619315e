package dashboard

import (
	"context"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dachs/storage"
)

// shop is a board with 70 days of made-up visits, which are returned too.
func shop(tb testing.TB) (*board, storage.Site, []seedVisit) {
	tb.Helper()
	b := newBoard(tb, Options{Open: true})
	visits := seedShop(b.today()-69, b.today(), 12)
	return b, b.site("shop.example", visits...), visits
}

// shown reads the tiles of a page.
func shown(page string) map[string]string {
	tiles := map[string]string{}
	for _, m := range regexp.MustCompile(`data-metric="([a-z_]+)">(?:<abbr title="[^"]*">)?([^<]*)<`).FindAllStringSubmatch(page, -1) {
		tiles[m[1]] = html.UnescapeString(m[2])
	}
	return tiles
}

// shownRow is a row of a panel as the page shows it.
type shownRow struct{ label, visitors, share, link string }

// shownPanel reads the rows of a panel.
func shownPanel(page, id string) []shownRow {
	_, part, _ := strings.Cut(page, ` id="`+id+`"`)
	part, _, _ = strings.Cut(part, "</section>")
	row := regexp.MustCompile(`<a href="([^"]*)"[^>]*>.*?<bdi>([^<]*)</bdi></a></th><td class="n">(?:<abbr [^>]*>)?([^<]*)(?:</abbr>)?</td>(?:<td class="n share">([^<]*)</td>)?`)
	var rows []shownRow
	for _, m := range row.FindAllStringSubmatch(part, -1) {
		rows = append(rows, shownRow{
			link: html.UnescapeString(m[1]), label: html.UnescapeString(m[2]),
			visitors: html.UnescapeString(m[3]), share: html.UnescapeString(m[4]),
		})
	}
	return rows
}

// tally counts visits with a loop and a map: what the page has to agree with.
type tally struct {
	visits, views, bounces, seconds int64
	by                              map[string]int64
}

func count30(visits []seedVisit, last storage.Day, key func(seedVisit) []string, keep func(seedVisit) bool) tally {
	c := tally{by: map[string]int64{}}
	for _, v := range visits {
		if v.day <= last-30 || v.day > last || !keep(v) {
			continue
		}
		c.visits++
		c.views += int64(len(v.paths))
		c.seconds += v.seconds
		if len(v.paths) == 1 {
			c.bounces++
		}
		for _, k := range slices.Compact(slices.Sorted(slices.Values(key(v)))) {
			c.by[k]++
		}
	}
	return c
}

func everything(seedVisit) bool { return true }

func paths(v seedVisit) []string { return v.paths }

func dimension(c storage.Column) func(seedVisit) []string {
	return func(v seedVisit) []string { return []string{v.dims[c]} }
}

func TestTilesEqualANaiveCount(t *testing.T) {
	b, _, visits := shop(t)
	f := func(query string, keep func(seedVisit) bool) {
		t.Helper()
		c := count30(visits, b.today(), paths, keep)
		if c.visits == 0 {
			t.Fatalf("%s: nothing to compare", query)
		}
		got := shown(b.page("/sites/shop.example?period=30d" + query))
		for metric, want := range map[string]string{
			"visitors": thousands(float64(c.visits)), "visits": thousands(float64(c.visits)), "pageviews": thousands(float64(c.views)),
			"views_per_visit": decimal(float64(c.views) / float64(c.visits)),
			"bounce_rate":     thousands(float64(c.bounces)*100/float64(c.visits)) + "%",
			"visit_duration":  minutes(float64(c.seconds) / float64(c.visits)),
		} {
			if got[metric] != want {
				t.Errorf("%s: %s is %q, want %q", query, metric, got[metric], want)
			}
		}
	}
	f("", everything)
	f("&f=is,visit:source,Google", func(v seedVisit) bool { return v.dims[storage.Source] == "Google" })
	f("&f=is,visit:source,", func(v seedVisit) bool { return v.dims[storage.Source] == "" })
	f("&f=is_not,visit:country,DE,AT&f=contains,visit:channel,Organic", func(v seedVisit) bool {
		country := v.dims[storage.Country]
		return country != "DE" && country != "AT" && strings.Contains(v.dims[storage.Channel], "Organic")
	})
}

func TestPanelsEqualANaiveCount(t *testing.T) {
	b, _, visits := shop(t)
	page := b.page("/sites/shop.example?period=30d")
	f := func(id string, key func(seedVisit) []string, label func(string) string) {
		t.Helper()
		c := count30(visits, b.today(), key, everything)
		rows := shownPanel(page, id)
		if len(rows) != min(len(c.by), panelRows) || len(rows) == 0 {
			t.Fatalf("%s: %d rows of %d", id, len(rows), len(c.by))
		}
		byLabel := map[string]int64{}
		for value, n := range c.by {
			byLabel[label(value)] = n
		}
		last := int64(1 << 62)
		for _, r := range rows {
			n := byLabel[r.label]
			if r.visitors != thousands(float64(n)) || n == 0 {
				t.Errorf("%s: %q has %s visitors, want %d", id, r.label, r.visitors, n)
			}
			if want := share(storage.Value{Number: float64(n)}, storage.Value{Number: float64(c.visits)}); r.share != want {
				t.Errorf("%s: share of %q is %s, want %s", id, r.label, r.share, want)
			}
			if n > last {
				t.Errorf("%s: %q stands below smaller ones", id, r.label)
			}
			last = n
		}
	}
	same := func(s string) string { return s }
	f("pages", paths, same)
	f("entries", func(v seedVisit) []string { return v.paths[:1] }, same)
	f("exits", func(v seedVisit) []string { return v.paths[len(v.paths)-1:] }, same)
	f("sources", dimension(storage.Source), func(s string) string {
		if s == "" {
			return "Direct / none"
		}
		return s
	})
	f("channels", dimension(storage.Channel), same)
	f("browsers", dimension(storage.Browser), func(s string) string { return b.server.valueLabel(storage.Browser, s) })
	f("systems", dimension(storage.OS), same)
	f("devices", dimension(storage.Device), same)
	f("countries", dimension(storage.Country), func(s string) string { return b.server.valueLabel(storage.Country, s) })
	for _, r := range shownPanel(page, "campaigns") {
		if r.label == "(none)" || r.label == "" {
			t.Error("campaigns list visits without a campaign")
		}
	}
}

// TestRowsFilterAndBack follows every link of every panel: it narrows the report to as many visitors as the
// row has, and the same link then leads back.
func TestRowsFilterAndBack(t *testing.T) {
	b, _, _ := shop(t)
	start := "/sites/shop.example?period=30d"
	page := b.page(start)
	for _, g := range panelGroups {
		for _, p := range g.Panels {
			rows := shownPanel(page, p.ID)
			for _, r := range rows[:min(len(rows), 2)] {
				narrowed := b.page(r.link)
				if got := shown(narrowed)["visitors"]; got != r.visitors {
					t.Errorf("%s %q: %s visitors after a click, %s before", p.ID, r.label, got, r.visitors)
				}
				back := shownPanel(narrowed, p.ID)
				if p.Column == storage.Exit && len(back) == 0 {
					t.Errorf("%s: no row after a click", p.ID)
				}
				for _, again := range back {
					if again.label == r.label && again.link != start {
						t.Errorf("%s %q: leads to %s, want back to %s", p.ID, r.label, again.link, start)
					}
				}
			}
		}
	}
}

func TestChartEqualsTheQuery(t *testing.T) {
	b, site, _ := shop(t)
	row := regexp.MustCompile(`<tr><th scope="row">(?:<a [^>]*>)?([^<]+)(?:</a>)?(?: <span class="quiet">\(so far\)</span>)?</th><td class="n">([^<]*)</td><td class="n">([^<]*)</td></tr>`)
	for _, period := range []string{"day", "7d", "30d", "month", "12mo", "all"} {
		p, err := ParsePeriod(period, "", "", b.now.In(site.Location()), b.today()-69)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.db.Query(context.Background(), storage.Query{
			Site: site.ID, From: p.From, To: p.To, Interval: p.Interval, Metrics: []storage.Metric{storage.Visitors, storage.PageViews},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][2]string{}
		for _, r := range res.Rows {
			bucket := r.Day.Date().Format(longDay)
			switch p.Interval {
			case storage.ByHour:
				bucket += ", " + hourLabel(r.Hour)
			case storage.ByMonth:
				bucket = r.Day.Date().Format("January 2006")
			}
			want[bucket] = [2]string{thousands(r.Values[0].Number), thousands(r.Values[1].Number)}
		}
		_, page, _ := strings.Cut(b.page("/sites/shop.example?period="+period), `<details class="data">`)
		page, _, _ = strings.Cut(page, "</details>")
		found := 0
		for _, m := range row.FindAllStringSubmatch(page, -1) {
			w, ok := want[m[1]]
			if !ok {
				w = [2]string{"0", "0"}
			} else {
				found++
			}
			if w != [2]string{m[2], m[3]} {
				t.Errorf("%s: %s has %s and %s, want %v", period, m[1], m[2], m[3], w)
			}
		}
		// Visits after the present hour are made up too; the page does not draw what lies ahead.
		if period != "day" && found != len(want) || found == 0 {
			t.Errorf("%s: %d of %d buckets found", period, found, len(want))
		}
	}
}

func TestBoundsAreMarked(t *testing.T) {
	b, site, _ := shop(t)
	filter := storage.Filter{Column: storage.Path, Op: storage.Contains, Values: []string{"/products"}}
	res, err := b.db.Query(context.Background(), storage.Query{
		Site: site.ID, From: b.today() - 29, To: b.today(), Metrics: []storage.Metric{storage.Visitors}, Filters: []storage.Filter{filter},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := res.Rows[0].Values[0]
	if !v.AtMost {
		t.Fatal("the store gives an exact number: this test needs another filter")
	}
	page := b.page("/sites/shop.example?period=30d&f=contains,event:page,/products")
	if got, want := shown(page)["visitors"], "≤ "+thousands(v.Number); got != want {
		t.Errorf("visitors %q, want %q", got, want)
	}
	for _, want := range []string{"It lies between " + thousands(v.Low) + " and " + thousands(v.Number), "marks an upper bound"} {
		if !strings.Contains(page, want) {
			t.Errorf("page does not say %q", want)
		}
	}
	if strings.Contains(b.page("/sites/shop.example?period=30d"), "≤") {
		t.Error("a bound is shown where all numbers are exact")
	}
}

func TestWhatIsNotHeldTogether(t *testing.T) {
	b, _, _ := shop(t)
	page := b.page("/sites/shop.example?period=30d&f=is,event:page,/")
	if len(shownPanel(page, "exits")) != 0 || !strings.Contains(page, notTogether) {
		t.Error("exit pages under a page filter are not explained")
	}
	if got := shown(page)["visitors"]; got == "" || got == "0" {
		t.Errorf("visitors %q: the rest of the report is missing", got)
	}
	page = b.page("/sites/shop.example?period=30d&f=is,event:page,/&f=is,visit:exit_page,/")
	if len(shown(page)) != 0 || strings.Count(page, notTogether) < 3 {
		t.Error("tiles that cannot be told are not explained")
	}
}

// TestPageFilterSaysOfWhichVisits: under a page filter some tiles speak of other visits than the tiles beside them.
func TestPageFilterSaysOfWhichVisits(t *testing.T) {
	b, _, _ := shop(t)
	f := func(query, want string) {
		t.Helper()
		page := b.page("/sites/shop.example?period=30d" + query)
		for _, note := range []string{noteEnteredHere, noteEnteredSet} {
			if strings.Contains(page, note) != (note == want) {
				t.Errorf("%q: want the note %q, and no other", query, want)
			}
		}
	}
	f("", "")
	f("&f=is,visit:entry_page,/", "")
	f("&f=is,event:page,/", noteEnteredHere)
	f("&f=is,event:page,/&panel=sources", noteEnteredHere)
	f("&f=is,event:page,/,/about", noteEnteredSet)
	f("&f=contains,event:page,/products", noteEnteredSet)
	f("&f=is,event:page,/&f=is,visit:exit_page,/", "")
}

func TestReportOfNothing(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	b.site("empty.example")
	page := b.page("/sites/empty.example")
	if !strings.Contains(page, "Waiting for the first visit") || !strings.Contains(page, "data-domain=&#34;empty.example&#34;") {
		t.Error("a site without hits does not show its tag")
	}
	b.site("old.example", seedShop(b.today()-60, b.today()-50, 5)...)
	got := shown(b.page("/sites/old.example?period=7d"))
	if got["visitors"] != "0" || got["bounce_rate"] != "–" {
		t.Errorf("a quiet week shows %v", got)
	}
}

func TestFirstDayShowsToday(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	b.site("new.example", seedShop(b.today(), b.today(), 5)...)
	if page := b.page("/sites/new.example"); !strings.Contains(page, `period=day" aria-current="true"`) {
		t.Error("the report of a new site does not begin with today")
	}
	b.site("old.example", seedShop(b.today()-5, b.today(), 5)...)
	if page := b.page("/sites/old.example"); !strings.Contains(page, `period=30d" aria-current="true"`) {
		t.Error("the report of an older site does not begin with 30 days")
	}
}

// TestSitesCountToday: today is the site's, not the server's.
func TestSitesCountToday(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	b.now = time.Date(2026, 11, 22, 23, 30, 0, 0, time.UTC) // Monday the 23rd in Berlin
	b.site("shop.example", seedVisit{day: b.today(), hour: 0, paths: []string{"/"}}, seedVisit{day: b.today() - 1, hour: 23, paths: []string{"/", "/a"}})
	if page := b.page("/sites"); !strings.Contains(page, `<td class="n">1</td><td class="n wide">1</td>`) {
		t.Errorf("list does not show today's visitor:\n%s", page)
	}
}

func TestFilterForm(t *testing.T) {
	b, _, _ := shop(t)
	page := b.page("/sites/shop.example?f=is,visit:screen,xl")
	if !strings.Contains(page, `<option value="visit:device">`) || strings.Contains(page, `<option value="visit:screen">`) {
		t.Error("the form does not offer what is collected, and that alone")
	}
	if !strings.Contains(page, `<span>Screen is <b>`) {
		t.Error("a filter over the screen class is not shown")
	}
	f := func(column, op, value, want string) {
		t.Helper()
		q := url.Values{"period": {"7d"}, "f": {"is,visit:source,Google"}, "column": {column}, "op": {op}, "value": {value}}
		w := b.get("/sites/shop.example?" + q.Encode())
		if got := w.Header().Get("Location"); w.Code != 303 || got != "/sites/shop.example?period=7d&f=is,visit:source,Google&f="+want {
			t.Errorf("%s %s %q: status %d to %s", column, op, value, w.Code, got)
		}
	}
	f("event:page", "contains", " /products ", "contains,event:page,/products")
	f("visit:country", "is", "germany", "is,visit:country,DE")
	f("visit:country", "is_not", "de", "is_not,visit:country,DE")
	f("visit:utm_campaign", "is", "", "is,visit:utm_campaign,")
	f("event:page", "is", "/a,b&c", `is,event:page,/a%5C,b%26c`)
	for _, bad := range []string{"column=&op=is", "column=visit:nothing&op=is", "column=event:page&op=like"} {
		if w := b.get("/sites/shop.example?" + bad); w.Code != 400 {
			t.Errorf("%s: status %d, want 400", bad, w.Code)
		}
	}
}

func TestFullList(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	var visits []seedVisit
	for i := range 25 {
		visits = append(visits, seedVisit{day: b.today(), hour: 1, paths: []string{"/" + strconv.Itoa(i)}})
	}
	b.site("shop.example", visits...)
	page := b.page("/sites/shop.example")
	if len(shownPanel(page, "pages")) != panelRows || !strings.Contains(page, ">All 25<") {
		t.Error("the panel does not lead to the full list")
	}
	page = b.page("/sites/shop.example?period=day&panel=pages")
	if n := len(shownPanel(page, "pages")); n != 25 {
		t.Errorf("full list has %d rows, want 25", n)
	}
	if shown(page)["visitors"] != "25" || strings.Contains(page, `id="sources"`) {
		t.Error("full list shows something else than its panel and the totals")
	}
}

func TestComparison(t *testing.T) {
	exact := func(f float64) storage.Value { return storage.Value{Number: f, Low: f} }
	f := func(now, before storage.Value, worse, points bool, want change) {
		t.Helper()
		if got := compare(now, before, worse, points); got != want {
			t.Errorf("from %v to %v: %+v, want %+v", before, now, got, want)
		}
	}
	f(exact(110), exact(100), false, false, change{"▲", "10%", "good", "more than before"})
	f(exact(50), exact(100), false, false, change{"▼", "50%", "bad", "less than before"})
	f(exact(100), exact(100), false, false, change{"=", "same", "even", "as before"})
	f(exact(100.2), exact(100), false, false, change{"▲", "< 1%", "even", "more than before"})
	f(exact(99.1), exact(100), false, false, change{"▼", "< 1%", "even", "less than before"})
	f(exact(101), exact(100), false, false, change{"▲", "1%", "good", "more than before"})
	f(exact(98.6), exact(100), false, false, change{"▼", "1%", "bad", "less than before"})
	f(exact(50.9), exact(50), true, true, change{"▲", "< 1 point", "even", "more than before"})
	f(exact(60), exact(50), true, true, change{"▲", "10 points", "bad", "more than before, which is worse"})
	f(exact(49), exact(50), true, true, change{"▼", "1 point", "good", "less than before, which is better"})
	f(exact(5), exact(0), false, false, change{})
	f(exact(5), storage.Value{Null: true}, false, false, change{})
	f(storage.Value{Number: 5, Low: 3, AtMost: true}, exact(5), false, false, change{})
	f(exact(30000), exact(1), false, false, change{"▲", "2,999,900%", "good", "more than before"})
	grown := []storage.Value{exact(4), exact(4), exact(4), exact(4), exact(4), exact(4)}
	for _, tl := range tiles(grown, []storage.Value{exact(9), exact(9), exact(9), exact(9), exact(9), exact(9)}, true) {
		if verdict := tl.Change.Class != "even"; verdict == (tl.Metric == "visitors" || tl.Metric == "visits" || tl.Metric == "pageviews") {
			t.Errorf("%s of a period that is not over: %+v", tl.Metric, tl.Change)
		}
	}
}

// TestNoVerdictBeforeTheEnd: counts are called good or bad only when all days of the period are over.
func TestNoVerdictBeforeTheEnd(t *testing.T) {
	b, _, _ := shop(t)
	class := regexp.MustCompile(`data-metric="(visitors|visits|pageviews)">[^<]*</dd>\n<dd class="change ([a-z]+)"`)
	f := func(query string, over bool) {
		t.Helper()
		page := b.page("/sites/shop.example?" + query)
		tiles := class.FindAllStringSubmatch(page, -1)
		if len(tiles) != 3 {
			t.Fatalf("%s: %d counts are compared, want 3", query, len(tiles))
		}
		for _, m := range tiles {
			if (m[2] != "even") != over {
				t.Errorf("%s: the change of %s is %s", query, m[1], m[2])
			}
		}
		if strings.Contains(page, "not over yet") == over || strings.Contains(page, " so far <span") == over || strings.Contains(page, "not called good or bad") == over {
			t.Errorf("%s: the page does not say whether the period is over", query)
		}
	}
	custom := func(from, to storage.Day) string { return "period=custom&from=" + from.String() + "&to=" + to.String() }
	f("period=day", false)
	f("period=7d", false)
	f("period=30d", false)
	f("period=month", false)
	f(custom(b.today()-9, b.today()+9), false)
	f(custom(b.today()+1, b.today()+3), false)
	f(custom(b.today()-20, b.today()-1), true)
}

// TestWhatIsNotKeptAnyMore asks about days that have lost their hours, and about days that have lost their details.
func TestWhatIsNotKeptAnyMore(t *testing.T) {
	b, site, _ := shop(t)
	if err := b.db.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	day := "/sites/shop.example?period=custom&from=2026-11-10&to=2026-11-10"
	if page := b.page(day); strings.Contains(page, noHours) || len(shownPanel(page, "pages")) == 0 {
		t.Error("hours are gone without filters")
	}
	page := b.page(day + "&f=is,visit:country,DE")
	if strings.Count(page, noHours) != 1 || len(shownPanel(page, "pages")) == 0 {
		t.Error("hours under a filter are not explained, or the rest of the report is missing")
	}
	if err := b.db.SetRetention(site.Domain, storage.Retention{Detail: 3}); err != nil {
		t.Fatal(err)
	}
	if err := b.db.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if page := b.page(day); strings.Contains(page, noDetails) || len(shownPanel(page, "countries")) == 0 {
		t.Error("totals are gone without filters")
	}
	page = b.page(day + "&f=is,visit:country,DE")
	if !strings.Contains(page, noDetails) || len(shown(page)) != 0 {
		t.Error("numbers under a filter without details are not explained")
	}
}
