package tracker

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"dachs/storage"
)

const (
	homeView = `{"n":"pageview","u":"https://example.com/","d":"example.com"}`
	googler  = "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
)

// settings changes those of the site while the server runs.
func (c *counting) settings(change func(s *storage.Settings)) {
	c.t.Helper()
	_, err := c.db.ChangeSettings("example.com", func(s *storage.Settings) error {
		change(s)
		return CheckSettings(s, func(string) bool { return true })
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// refusals stores the notes, opens the store again, and returns what it has of the site on the clock's day.
func (c *counting) refusals() map[string]int64 {
	c.t.Helper()
	if err := c.tracker.notes.store(c.db); err != nil {
		c.t.Fatal(err)
	}
	if err := c.db.Close(); err != nil {
		c.t.Fatal(err)
	}
	var err error
	if c.db, err = storage.Open(c.dir, storage.Options{}); err != nil {
		c.t.Fatal(err)
	}
	c.tracker.store = c.db
	day := storage.DayOf(c.clock().In(c.site.Location()))
	got, err := c.db.Refusals(c.t.Context(), c.site.ID, day-1, day+1)
	if err != nil {
		c.t.Fatal(err)
	}
	for other := range got {
		if other != day {
			c.t.Errorf("refusals of %s: %v", other, got[other])
		}
	}
	return got[day]
}

// dump lists all values that the site's hits have on the clock's day.
func (c *counting) dump() []string {
	c.t.Helper()
	var columns []storage.Column
	for column := range storage.RollupOf {
		if column != storage.Exit { // of visits only
			columns = append(columns, column)
		}
	}
	found := make(map[string]bool)
	for _, table := range []storage.Table{storage.Hits, storage.Visits} {
		some := columns
		if table == storage.Visits {
			some = []storage.Column{storage.Entry, storage.Exit, storage.Country, storage.Browser, storage.Hostname}
		}
		err := c.db.Values(c.site.ID, table, storage.DayOf(c.clock().In(c.site.Location())), some, func(_ storage.Column, value string) bool {
			found[value] = true
			return true
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	delete(found, "")
	delete(found, storage.HourName(c.clock().In(c.site.Location()).Hour())) // leaves the rows once the day is over
	return slices.Sorted(maps.Keys(found))
}

func TestEachRefusalIsCounted(t *testing.T) {
	const secret = `{"n":"pageview","u":"https://example.com/secret?x=canary","d":"example.com","r":"https://ref.example/canary"}`
	browser := []string{"Accept: */*", "Accept-Language: de"}
	tests := map[string]struct {
		reason   Reason
		settings func(s *storage.Settings)
		body     string
		header   []string
		status   int // if not 202
	}{
		"GPC":             {reason: GPC, header: []string{"Sec-GPC: 1", googler}},
		"DNT":             {reason: DNT, header: []string{"DNT: 1"}},
		"both":            {reason: GPC, header: []string{"DNT: 1", "Sec-GPC: 1"}},
		"opt-out":         {reason: OptedOut, body: strings.Replace(secret, "{", `{"opted_out":true,`, 1), header: []string{googler}},
		"opt-out as 1":    {reason: OptedOut, body: strings.Replace(secret, "{", `{"opted_out":1,`, 1)},
		"bot":             {reason: Bot, header: []string{googler}},
		"prefetch":        {reason: Prefetch, header: []string{"Sec-Purpose: prefetch", googler}},
		"prerender":       {reason: Prefetch, header: []string{"Purpose: prerender"}},
		"spam":            {reason: Spam, body: strings.Replace(secret, "ref.example", "x.semalt.com", 1)},
		"headless":        {reason: Headless, settings: func(s *storage.Settings) { s.Exclude.Headless = true }},
		"no language":     {reason: Headless, settings: func(s *storage.Settings) { s.Exclude.Headless = true }, header: browser[:1]},
		"host":            {reason: Host, settings: func(s *storage.Settings) { s.Hosts = []string{"*.example.com", "example.org"} }},
		"path":            {reason: Path, settings: func(s *storage.Settings) { s.Exclude.Paths = []string{"/admin", "/sec*"} }},
		"country":         {reason: Country, settings: func(s *storage.Settings) { s.Exclude.Countries = []string{"US"} }, header: []string{"X-Forwarded-For: 8.8.8.8"}},
		"network":         {reason: Network, settings: func(s *storage.Settings) { s.Exclude.Networks = []string{"192.0.2.0/28"} }},
		"agent":           {reason: Agent, settings: func(s *storage.Settings) { s.Exclude.Agents = []string{"RV:140"} }},
		"data centre":     {reason: DataCentre, settings: func(s *storage.Settings) { s.Exclude.DataCentres = true }, header: []string{"X-Forwarded-For: 198.51.100.7"}},
		"no open visit":   {reason: NoVisit, body: strings.Replace(secret, `"pageview"`, `"engagement","e":5000`, 1)},
		"malformed name":  {reason: Malformed, body: strings.Replace(secret, `"pageview"`, "[]", 1), status: 400},
		"malformed event": {reason: Malformed, body: `{"n":"pageview","d":"example.com"}`, status: 400},
	}
	counted, c := newCounting(t), newCounting(t)
	want, wantText := counted.do("POST", "/api/event", homeView)
	c.tracker.dataCentres = NewNetworks([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")})
	outcomes, stored := make(map[Reason]uint64), make(map[string]int64)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c.settings(func(s *storage.Settings) {
				*s = storage.Settings{}
				if tt.settings != nil {
					tt.settings(s)
				}
			})
			resp, text := c.do("POST", "/api/event", cmp.Or(tt.body, secret), tt.header...)
			want.Header["Date"] = resp.Header["Date"]
			switch {
			case tt.status != 0 && resp.StatusCode != tt.status:
				t.Errorf("answer %d %q", resp.StatusCode, text)
			case tt.status == 0 && (resp.StatusCode != want.StatusCode || text != wantText || !equalHeaders(resp.Header, want.Header)):
				t.Errorf("answer %d %q %v, that of a counted hit is %d %q %v", resp.StatusCode, text, resp.Header, want.StatusCode, wantText, want.Header)
			}
			outcomes[tt.reason]++
			stored[tt.reason.String()]++
			c.t = t
			c.expectOutcomes(outcomes)
		})
	}
	c.t = t
	if got := c.refusals(); !maps.Equal(got, stored) {
		t.Errorf("the store has %v, want %v", got, stored)
	}
	c.expect([4]int{})
	wantValues := append(slices.Collect(maps.Keys(stored)), "refused")
	if slices.Sort(wantValues); !slices.Equal(c.dump(), wantValues) {
		t.Errorf("on disk are %q, want %q", c.dump(), wantValues)
	}
	// What a site's settings leave out counts without them.
	c.settings(func(s *storage.Settings) { *s = storage.Settings{} })
	hits := 0
	for _, tt := range tests {
		if tt.settings != nil {
			c.hit(cmp.Or(tt.body, secret), tt.header...)
			hits++
		}
	}
	if got := c.counts()[""][2]; got != hits || hits < 8 {
		t.Errorf("%d of %d hits count without settings", got, hits)
	}
}

func (c *counting) expectOutcomes(want map[Reason]uint64) {
	c.t.Helper()
	for r, n := range c.tracker.Outcomes() {
		if n != want[Reason(r)] {
			c.t.Errorf("%s was counted %d times, want %d", Reason(r), n, want[Reason(r)])
		}
	}
}

func TestBrowserHeadersAreEnough(t *testing.T) {
	c := newCounting(t)
	c.settings(func(s *storage.Settings) { s.Exclude.Headless = true })
	c.hit(homeView, "Accept: */*", "Accept-Language: de")
	c.expect([4]int{1, 1, 1, 1})
	// A server that counts on behalf of its pages has a token instead.
	_, token, err := c.db.CreateToken(c.site.ID, storage.ScopeCount)
	if err != nil {
		t.Fatal(err)
	}
	c.hit(homeView, "Authorization: Bearer "+token, "X-Forwarded-For: 192.0.2.2")
	c.expect([4]int{2, 2, 2, 2})
	c.hit(homeView, "X-Forwarded-For: 192.0.2.3")
	c.expectOutcomes(map[Reason]uint64{Accepted: 2, Headless: 1})
}

func TestRulesChangeWhileCounting(t *testing.T) {
	c := newCounting(t)
	visit := func(path string, want [4]int) {
		t.Helper()
		c.hit(strings.Replace(homeView, ".com/", ".com"+path, 1))
		c.expect(want)
	}
	visit("/a", [4]int{1, 1, 1, 1})
	c.settings(func(s *storage.Settings) { s.Exclude.Paths = []string{"/a"} })
	visit("/a", [4]int{1, 1, 1, 1})
	visit("/b", [4]int{1, 1, 2, 2})
	c.settings(func(s *storage.Settings) { s.Exclude.Paths = []string{"/b"} })
	visit("/a", [4]int{1, 1, 3, 3})
	visit("/b", [4]int{1, 1, 3, 3})
	c.settings(func(s *storage.Settings) { s.Exclude.Paths = append(s.Exclude.Paths, "/a") })
	visit("/a", [4]int{1, 1, 3, 3})
	c.settings(func(s *storage.Settings) { s.Exclude.Paths = nil })
	visit("/a", [4]int{1, 1, 4, 4})
}

// A site's rules are its own, also where one event counts into several sites.
func TestRulesOfSeveralSites(t *testing.T) {
	c := newCounting(t)
	other, err := c.db.AddSite("example.org", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	c.settings(func(s *storage.Settings) { s.Hosts = []string{"shop.example.com"} })
	both := strings.Replace(homeView, `"d":"example.com"`, `"d":"example.com,example.org,www.example.com,unknown.example,EXAMPLE.org"`, 1)
	c.hit(both)
	c.hit(both, googler)
	c.hit(both, "Sec-GPC: 1")
	c.expect([4]int{})
	if got := c.refusals(); !maps.Equal(got, map[string]int64{"host": 1, "bot": 1, "gpc": 1}) {
		t.Errorf("refusals are %v", got)
	}
	day := storage.DayOf(c.clock())
	got, err := c.db.Refusals(t.Context(), other.ID, day, day)
	if err != nil || !maps.Equal(got[day], map[string]int64{"bot": 1, "gpc": 1}) {
		t.Errorf("refusals of the other site are %v, %v", got, err)
	}
	c.site = other
	c.expect([4]int{1, 1, 1, 1})
}

// TestFloodOfUnknownSites leaves nothing in memory and nothing on disk.
func TestFloodOfUnknownSites(t *testing.T) {
	c := newCounting(t)
	for i := range 500 {
		body := strings.ReplaceAll(homeView, "example.com", fmt.Sprintf("site-%d.example", i))
		header := [][]string{nil, {"Sec-GPC: 1"}, {googler}}[i%3]
		c.hit(body, header...)
	}
	if n := len(c.tracker.notes.counts); n != 0 {
		t.Errorf("%d notes of sites that are not here", n)
	}
	rulings := 0
	c.tracker.rulings.Range(func(any, any) bool { rulings++; return true })
	if rulings != 0 {
		t.Errorf("rules of %d sites that are not here", rulings)
	}
	if got := c.refusals(); len(got) != 0 {
		t.Errorf("refusals are %v", got)
	}
	c.expectOutcomes(map[Reason]uint64{UnknownSite: 167, GPC: 167, Bot: 166})
}

// TestReplacementsAreNoted counts a page whose path names somebody.
func TestReplacementsAreNoted(t *testing.T) {
	c := newCounting(t)
	c.hit(strings.ReplaceAll(homeView, "https://example.com/", "https://example.com/of/jane.doe@example.org/"))
	if err := c.tracker.notes.store(c.db); err != nil {
		t.Fatal(err)
	}
	day := storage.DayOf(c.clock())
	got, err := c.db.Notes(t.Context(), c.site.ID, storage.KindReplaced, day, day)
	if err != nil || !maps.Equal(got[day], map[string]int64{"email": 1}) {
		t.Errorf("notes are %v, %v", got, err)
	}
}

// TestNotesAreStoredAtTheEnd stops a tracker before its next round, and lets another fail to store.
func TestNotesAreStoredAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	site, err := db.AddSite("example.com", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(Options{Store: db})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		tr.note(site, storage.KindRefused, "bot", 2)
	}
	if err := errors.Join(tr.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	tr.note(site, storage.KindRefused, "bot", 5)
	if err := tr.notes.store(db); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("a closed store takes notes: %v", err)
	}
	if db, err = storage.Open(dir, storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	total := func() (n int64) {
		all, err := db.Refusals(t.Context(), site.ID, storage.DayOf(tr.now().UTC())-1, storage.DayOf(tr.now().UTC()))
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range all {
			n += day["bot"]
		}
		return n
	}
	if n := total(); n != 6 {
		t.Errorf("%d refusals are on disk, want 6", n)
	}
	if err := tr.notes.store(db); err != nil || total() != 11 {
		t.Errorf("what could not be stored is lost: %d, %v", total(), err)
	}
}

// TestNotesAreBounded fills the memory for notes: what is there goes on, what is new is not taken.
func TestNotesAreBounded(t *testing.T) {
	var s notes
	for i := range maxNotes + 10 {
		s.add(noteKey{site: uint32(i)}, 1)
	}
	s.add(noteKey{site: 0}, 1)
	if len(s.counts) != maxNotes || s.counts[noteKey{site: 0}] != 2 {
		t.Errorf("%d notes, the first is %d", len(s.counts), s.counts[noteKey{site: 0}])
	}
}
