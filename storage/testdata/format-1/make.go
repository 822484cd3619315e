// Command format-1 makes the fixture format-1.tar.gz, a store of format 1, and format-1.json, what it answered. Both come
// from the program that wrote this format, Dachs 0.1.0 (commit c05fe70), through its ordinary commands. All data is made up.
//
//	git worktree add /tmp/dachs-0.1.0 c05fe70
//	(cd /tmp/dachs-0.1.0 && CGO_ENABLED=0 go build -o dachs ./cmd/dachs)
//	go run ./storage/testdata/format-1 /tmp/dachs-0.1.0/dachs storage/testdata
//
// The store holds three sites in three time zones: one with days large enough for chunks, which have been closed; a day
// of it that an import opened again shortly before the end; small days; and the day of the making, with events,
// properties and revenue. It was killed, so that its latest commits lie in a log that Badger has to read again.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// fixture is the file format-1.json.
type fixture struct {
	Made    time.Time `json:"made"` // the clock for whoever opens the store
	Token   string    `json:"token"`
	Answers []answer  `json:"answers"`
}

// answer is a query as `dachs query` takes it, and its results.
type answer struct {
	Site       string          `json:"site"`
	Range      string          `json:"range"`
	Metrics    []string        `json:"metrics"`
	Dimensions []string        `json:"dimensions,omitempty"`
	Filters    []string        `json:"filters,omitempty"`
	Results    json.RawMessage `json:"results"`
}

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	chrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1"
)

var (
	agents    = []string{firefox, chrome, iphone}
	referrers = []string{"-", "-", "https://www.google.com/", "https://news.ycombinator.com/item?id=1", "https://ref.example/list", "https://t.co/x"}
	tags      = []string{"", "", "", "?utm_source=letter&utm_medium=email&utm_campaign=autumn", "?utm_source=ads&utm_medium=cpc&utm_term=badger&utm_content=b"}
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: format-1 PROGRAM DIRECTORY")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

// maker drives the old program.
type maker struct {
	program, data, temp string
	rand                *rand.Rand
	now                 time.Time
}

func run(program, out string) error {
	temp, err := os.MkdirTemp("", "format-1-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	m := &maker{program, filepath.Join(temp, "data"), temp, rand.New(rand.NewPCG(1, 2)), time.Now().UTC().Truncate(time.Second)}
	for domain, zone := range map[string]string{"shop.example": "Europe/Berlin", "blog.example": "America/New_York", "docs.example": "Pacific/Auckland"} {
		m.dachs("site", "add", domain, "--timezone", zone)
	}
	f := fixture{Made: m.now}
	f.Token = strings.TrimSpace(m.dachs("token", "create", "--site", "shop.example"))
	m.importLog("shop.example", 5, 4, 2000)
	m.importLog("docs.example", 40, 3, 60)
	if err := m.serve(func(base string) { m.live(base, 170) }, os.Interrupt); err != nil { // closes the days
		return err
	}
	err = m.serve(func(base string) {
		m.live(base, 30)
		m.importLog("shop.example", 3, 1, 25)
		f.Answers = m.answers()
	}, os.Kill)
	if err != nil {
		return err
	}
	if err := f.write(filepath.Join(out, "format-1.json")); err != nil {
		return err
	}
	os.Remove(filepath.Join(m.data, "admin.sock"))
	archive, err := filepath.Abs(filepath.Join(out, "format-1.tar.gz"))
	if err != nil {
		return err
	}
	// Sparse, since Badger's logs are mostly holes.
	tar := exec.Command("tar", "--sparse", "--owner=0", "--group=0", "--numeric-owner", "--use-compress-program=gzip -9n", "-cf", archive, "format", "badger")
	tar.Dir = m.data
	tar.Stderr = os.Stderr
	return tar.Run()
}

// write writes the fixture with a line for each answer.
func (f *fixture) write(name string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"made\":%q,\"token\":%q,\"answers\":[", f.Made.Format(time.RFC3339), f.Token)
	for i, a := range f.Answers {
		line, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// dachs runs a command and returns what it prints.
func (m *maker) dachs(args ...string) string {
	cmd := exec.Command(m.program, append(args, "--data", m.data)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		log.Fatalf("%v: %v", args, err)
	}
	return string(out)
}

// importLog imports a made-up log of n lines over some days, the first of them so many days ago.
func (m *maker) importLog(site string, ago, days, n int) {
	var b bytes.Buffer
	at := m.now.AddDate(0, 0, -ago).Truncate(24 * time.Hour)
	for range n {
		at = at.Add(time.Duration(m.rand.IntN(2*days*86400/n)) * time.Second)
		host := site
		if m.rand.IntN(5) == 0 {
			host = "www." + site
		}
		fmt.Fprintf(&b, "%s 198.51.100.%d - - [%s] \"GET %s%s HTTP/1.1\" 200 1234 \"%s\" \"%s\"\n", host, m.rand.IntN(120),
			at.Format("02/Jan/2006:15:04:05 -0700"), m.path(), m.pick(tags), m.pick(referrers), m.pick(agents))
	}
	name := filepath.Join(m.temp, "access.log")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		log.Fatal(err)
	}
	m.dachs("import", "log", name, "--site", site)
}

func (m *maker) pick(values []string) string { return values[m.rand.IntN(len(values))] }

// path is one of some 60 pages, few of which are seen often.
func (m *maker) path() string {
	n := int(m.rand.ExpFloat64() * 8)
	if n == 0 {
		return "/"
	}
	return fmt.Sprintf("/%s/page-%d", []string{"guide", "news", "shop"}[n%3], n%60)
}

var dashboard = regexp.MustCompile(`Dashboard: (http://\S+)/\n`)

// serve runs the server while fn does, and ends it with a signal.
func (m *maker) serve(fn func(base string), end os.Signal) error {
	cmd := exec.Command(m.program, "serve", "--data", m.data, "--listen", "127.0.0.1:0", "--trusted-proxies", "127.0.0.1")
	cmd.Stderr = os.Stderr
	stdout, err := os.Create(filepath.Join(m.temp, "stdout"))
	if err != nil {
		return err
	}
	cmd.Stdout = stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait() // reports the signal
	defer cmd.Process.Kill()
	for range 500 {
		time.Sleep(20 * time.Millisecond)
		text, err := os.ReadFile(stdout.Name())
		if err != nil {
			return err
		}
		if base := dashboard.FindSubmatch(text); base != nil {
			m.own(string(base[1]), string(text))
			time.Sleep(2 * time.Second) // lets the store close the days that are over
			fn(string(base[1]))
			if err := cmd.Process.Signal(end); err != nil {
				return err
			}
			return nil
		}
	}
	return fmt.Errorf("%s does not answer", m.program)
}

// own chooses a password if the server has just printed a link for that.
func (m *maker) own(base, stdout string) {
	link := regexp.MustCompile(`http://\S+/setup/\S+`).FindString(stdout)
	if link == "" {
		return
	}
	form := url.Values{"password": {"a password of this fixture"}, "again": {"a password of this fixture"}}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(link, form)
	if err != nil || resp.StatusCode >= 400 {
		log.Fatalf("set-up: %v, %v", err, resp)
	}
	resp.Body.Close()
}

// live sends hits to the server: page views, engagement, and events with properties and revenue.
func (m *maker) live(base string, n int) {
	for i := range n {
		site := []string{"shop.example", "shop.example", "blog.example", "docs.example"}[m.rand.IntN(4)]
		addr := []string{"81.0.0.%d", "8.8.8.%d", "133.11.0.%d", "2001:db8:%d::1"}[m.rand.IntN(4)]
		addr, agent := fmt.Sprintf(addr, m.rand.IntN(30)), m.pick(agents)
		page := "https://" + site + m.path()
		hit := map[string]any{"n": "pageview", "u": page + m.pick(tags), "d": site}
		if ref := m.pick(referrers); ref != "-" {
			hit["r"] = ref
		}
		m.post(base, addr, agent, hit)
		switch i % 4 {
		case 0:
			m.post(base, addr, agent, map[string]any{"n": "engagement", "u": page, "d": site, "e": 1000 * m.rand.IntN(90), "sd": m.rand.IntN(100)})
		case 1:
			m.post(base, addr, agent, map[string]any{"n": "Purchase", "u": page, "d": site,
				"p": map[string]any{"plan": m.pick([]string{"small", "large"}), "gift": m.rand.IntN(2) == 0},
				"$": map[string]any{"currency": m.pick([]string{"EUR", "USD"}), "amount": fmt.Sprintf("%d.%02d", m.rand.IntN(90), m.rand.IntN(100))}})
		case 2:
			m.post(base, addr, agent, map[string]any{"n": "Signup", "u": page, "d": site})
		}
	}
}

func (m *maker) post(base, addr, agent string, hit map[string]any) {
	body, err := json.Marshal(hit)
	if err != nil {
		log.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, base+"/api/event", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Accept-Language", m.pick([]string{"de-DE,de", "en-US,en", "ja"}))
	req.Header.Set("X-Forwarded-For", addr)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		log.Fatalf("post %s: %v, %v", body, err, resp)
	}
	resp.Body.Close()
}

// answers asks all questions of all sites.
func (m *maker) answers() []answer {
	span := m.now.AddDate(0, 0, -60).Format(time.DateOnly) + "," + m.now.AddDate(0, 0, 1).Format(time.DateOnly)
	var all []answer
	for _, site := range []string{"shop.example", "blog.example", "docs.example"} {
		for _, q := range questions() {
			q.Site, q.Range = site, span
			all = append(all, m.ask(q))
		}
	}
	return all
}

func questions() []answer {
	visits := []string{"visitors", "visits", "pageviews", "events", "views_per_visit", "bounce_rate", "visit_duration"}
	hits := []string{"visitors", "visits", "pageviews", "events"}
	all := []answer{{Metrics: visits}, {Metrics: visits, Dimensions: []string{"time:day"}}, {Metrics: hits, Dimensions: []string{"time:hour"}}}
	for _, d := range []string{
		"visit:entry_page", "visit:exit_page", "visit:source", "visit:channel", "visit:referrer", "visit:utm_source", "visit:utm_medium",
		"visit:utm_campaign", "visit:utm_term", "visit:utm_content", "visit:country", "visit:browser", "visit:browser_version",
		"visit:os", "visit:os_version", "visit:device", "visit:language",
	} {
		all = append(all, answer{Metrics: visits, Dimensions: []string{d}})
	}
	return append(all,
		answer{Metrics: append([]string{"time_on_page", "scroll_depth"}, hits...), Dimensions: []string{"event:page"}},
		answer{Metrics: hits, Dimensions: []string{"event:name"}},
		answer{Metrics: hits, Dimensions: []string{"event:hostname"}},
		answer{Metrics: hits, Dimensions: []string{"event:page", "visit:country"}},
		answer{Metrics: hits, Dimensions: []string{"event:page", "time:day"}},
		answer{Metrics: visits, Dimensions: []string{"visit:source", "visit:device"}},
		answer{Metrics: visits, Filters: []string{"is,visit:browser,Firefox"}},
		answer{Metrics: hits, Filters: []string{"is,event:page,/"}, Dimensions: []string{"visit:source"}},
		answer{Metrics: hits, Filters: []string{"contains,event:page,guide"}, Dimensions: []string{"time:day"}},
		answer{Metrics: hits, Filters: []string{"is_not,event:page,/,/news/page-1"}},
		answer{Metrics: hits, Filters: []string{"is,event:name,Purchase"}, Dimensions: []string{"visit:utm_campaign"}},
		answer{Metrics: hits, Filters: []string{"is,event:name,Purchase,Signup", "is_not,visit:channel,Direct"}},
		answer{Metrics: visits, Filters: []string{"contains,visit:entry_page,shop"}, Dimensions: []string{"visit:exit_page"}},
	)
}

func (m *maker) ask(q answer) answer {
	args := []string{"query", "--format", "json", "--limit", "10000", "--site", q.Site, "--range", q.Range, "--metrics", strings.Join(q.Metrics, ",")}
	if len(q.Dimensions) > 0 {
		args = append(args, "--dimensions", strings.Join(q.Dimensions, ","))
	}
	for _, f := range q.Filters {
		args = append(args, "--filter", f)
	}
	var got struct{ Results json.RawMessage }
	if err := json.Unmarshal([]byte(m.dachs(args...)), &got); err != nil {
		log.Fatalf("%v: %v", args, err)
	}
	q.Results = got.Results
	return q
}
