package tracker

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"dachs/storage"
)

func TestPathPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		out     []string
		in      []string
	}{
		{"/admin", []string{"/admin", "/admin?page=2"}, []string{"/admin/", "/admin/x", "/x/admin", "/Admin", "/"}},
		{"/admin/*", []string{"/admin/", "/admin/x"}, []string{"/admin", "/admin/x/y", "/admin/x/"}},
		{"/admin/**", []string{"/admin/", "/admin/x", "/admin/x/y.html"}, []string{"/admin", "/administrator", "/x/admin/y"}},
		{"**/print", []string{"/print", "/a/b/print"}, []string{"/a/printer", "/print/"}},
		{"/*/edit", []string{"/page/edit", "//edit"}, []string{"/a/b/edit", "/edit"}},
		{"/a*b**c", []string{"/abc", "/axxb/y/zc", "/ab\nc"}, []string{"/a/bc", "/ac"}},
		{"/a***", []string{"/a", "/a/b/c"}, []string{"/b"}},
		{"/c++/(x)|[y].$", []string{"/c++/(x)|[y].$"}, []string{"/c/x", "/c++/(x)|[y]xx", "/c++/(x)"}},
		{"/über/*", []string{"/über/uns"}, []string{"/uber/uns"}},
		{"/#/admin/*", []string{"/#/admin/x"}, []string{"/#/x"}},
	} {
		r := NewRules(&storage.Settings{Exclude: storage.Exclusions{Paths: []string{"/nothing", tt.pattern}}}, nil)
		for _, path := range tt.out {
			if got := r.Judge(&Client{}, &Hit{Path: path}); got != Path {
				t.Errorf("%s, %q: %s", tt.pattern, path, got)
			}
		}
		for _, path := range tt.in {
			if got := r.Judge(&Client{}, &Hit{Path: path}); got != Accepted {
				t.Errorf("%s, %q: %s", tt.pattern, path, got)
			}
		}
	}
	if got := NewRules(&storage.Settings{Exclude: storage.Exclusions{Paths: []string{"\xff"}}}, nil).Judge(&Client{}, &Hit{Path: "/"}); got != Accepted {
		t.Errorf("a pattern that is none: %s", got)
	}
}

func TestAllowedHosts(t *testing.T) {
	r := NewRules(&storage.Settings{Hosts: []string{"example.com", "*.example.org"}}, nil)
	for host, want := range map[string]Reason{
		"example.com": Accepted, "shop.example.com": Host, "anexample.com": Host, "a.example.org": Accepted, "a.b.example.org": Accepted,
		"example.org": Host, "anexample.org": Host, ".example.org": Host, "example.net": Host, "": Host,
	} {
		if got := r.Judge(&Client{}, &Hit{Hostname: host}); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
	}
}

func TestOtherRules(t *testing.T) {
	r := NewRules(&storage.Settings{Exclude: storage.Exclusions{
		Countries: []string{"FR", "CH"}, Networks: []string{"192.0.2.0/24", "2001:db8:1::/48"}, Agents: []string{"monitor", "Check-"},
		Headless: true, DataCentres: true,
	}}, NewNetworks([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}))
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		client  Client
		country string
		want    Reason
	}{
		{Client{Addr: addr("203.0.113.1"), UserAgent: firefox}, "DE", Accepted},
		{Client{Addr: addr("203.0.113.1"), UserAgent: firefox}, "", Accepted},
		{Client{Addr: addr("203.0.113.1"), UserAgent: firefox}, "CH", Country},
		{Client{Addr: addr("192.0.2.255")}, "DE", Network},
		{Client{Addr: addr("::ffff:192.0.2.9")}, "DE", Network},
		{Client{Addr: addr("192.0.3.0")}, "DE", Accepted},
		{Client{Addr: addr("2001:db8:1:ffff::1")}, "DE", Network},
		{Client{Addr: addr("2001:db8:2::1")}, "DE", Accepted},
		{Client{}, "DE", Accepted},
		{Client{Addr: addr("198.51.100.1")}, "DE", DataCentre},
		{Client{UserAgent: "Site MONITOR 1"}, "DE", Agent},
		{Client{UserAgent: "x/check-1"}, "DE", Agent},
		{Client{UserAgent: "check monito"}, "DE", Accepted},
		{Client{Bare: true}, "DE", Headless},
		{Client{Bare: true, Trusted: true}, "DE", Accepted},
	} {
		if got := r.Judge(&tt.client, &Hit{Attributes: Attributes{Country: tt.country}}); got != tt.want {
			t.Errorf("%+v, %s: %s, want %s", tt.client, tt.country, got, tt.want)
		}
	}
	if r := NewRules(&storage.Settings{City: true, Query: []string{"page"}}, nil); r != nil {
		t.Errorf("settings without a rule make %+v", r)
	}
}

// A hit pays nothing for rules that its site does not have, and no memory for those that it has.
func TestRulesTakeNoMemory(t *testing.T) {
	c := newCounting(t)
	hit := &Hit{Path: "/blog/2026/a-page", Hostname: "example.com", Attributes: Attributes{Country: "DE"}}
	client := &Client{Addr: netip.MustParseAddr("203.0.113.9"), UserAgent: firefox}
	c.tracker.limiter = newLimiter(1000, c.clock())
	for _, change := range []func(*storage.Settings){
		func(*storage.Settings) {},
		func(s *storage.Settings) {
			s.Hosts, s.Exclude.Paths = []string{"example.com"}, []string{"/admin/**", "**/print", "/*/edit"}
			s.Exclude.Countries, s.Exclude.Networks, s.Exclude.Agents = []string{"FR"}, []string{"192.0.2.0/24"}, []string{"monitor"}
		},
	} {
		c.settings(change)
		site, _ := c.db.Site("example.com")
		if n := testing.AllocsPerRun(100, func() {
			if why := c.tracker.judge(&site, client, hit); why != Accepted {
				t.Fatal(why)
			}
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// BenchmarkHostilePath is the longest path against as many patterns as a site can have.
func BenchmarkHostilePath(b *testing.B) {
	var patterns []string
	for i := range maxPaths {
		patterns = append(patterns, fmt.Sprintf("**/%d/**/print", i))
	}
	s := storage.Settings{Exclude: storage.Exclusions{Paths: patterns}}
	if err := CheckSettings(&s, nil); err != nil {
		b.Fatal(err)
	}
	r, hit := NewRules(&s, nil), &Hit{Path: strings.Repeat("/1", maxPath/2)}
	for b.Loop() {
		r.Judge(&Client{}, hit)
	}
}

func BenchmarkRules(b *testing.B) {
	r := NewRules(&storage.Settings{Hosts: []string{"example.com"}, Exclude: storage.Exclusions{
		Paths: []string{"/admin/**", "**/print", "/*/edit"}, Countries: []string{"FR"}, Networks: []string{"192.0.2.0/24"}, Agents: []string{"monitor"},
	}}, nil)
	hit := &Hit{Path: "/blog/2026/a-page", Hostname: "example.com", Attributes: Attributes{Country: "DE"}}
	client := &Client{Addr: netip.MustParseAddr("203.0.113.9"), UserAgent: firefox}
	for b.Loop() {
		r.Judge(client, hit)
	}
}

func TestSettingsAreCleaned(t *testing.T) {
	s := storage.Settings{
		Hosts: []string{" https://WWW.Example.com ", "*.Example.org", "example.com"}, Query: []string{"page"},
		Exclude: storage.Exclusions{
			Paths: []string{"/a", "**/b"}, Countries: []string{"de", "DE"}, Networks: []string{"192.0.2.77/24", "::ffff:192.0.2.0/120", "2001:db8::1"},
			Agents: []string{"MyMonitor"},
		},
	}
	if err := CheckSettings(&s, func(code string) bool { return code == "DE" }); err != nil {
		t.Fatal(err)
	}
	want := storage.Settings{
		Hosts: []string{"example.com", "*.example.org"}, Query: []string{"page"},
		Exclude: storage.Exclusions{
			Paths: []string{"/a", "**/b"}, Countries: []string{"DE"}, Networks: []string{"192.0.2.0/24", "2001:db8::1/128"}, Agents: []string{"mymonitor"},
		},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("settings are %+v, want %+v", s, want)
	}
	again := want
	if err := CheckSettings(&again, func(string) bool { return true }); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("checked again they are %+v, %v", again, err)
	}
}

func TestSettingsAreRefused(t *testing.T) {
	many := make([]string, maxRules+1)
	for i := range many {
		many[i] = fmt.Sprintf("/agent-%d", i)
	}
	for _, tt := range []struct {
		s    storage.Settings
		want string
	}{
		{storage.Settings{Hosts: []string{"*"}}, `host "*"`},
		{storage.Settings{Hosts: []string{"a.*.example.com"}}, "host"},
		{storage.Settings{Hosts: []string{"*.example.com/x"}}, "host"},
		{storage.Settings{Query: []string{"a=b"}}, `parameter "a=b"`},
		{storage.Settings{Query: []string{""}}, "is empty"},
		{storage.Settings{Exclude: storage.Exclusions{Paths: []string{"admin"}}}, "begin with /"},
		{storage.Settings{Exclude: storage.Exclusions{Paths: []string{""}}}, "is empty"},
		{storage.Settings{Exclude: storage.Exclusions{Paths: []string{"/a?b=c"}}}, "without a query"},
		{storage.Settings{Exclude: storage.Exclusions{Paths: []string{"/a\x00"}}}, "cannot be printed"},
		{storage.Settings{Exclude: storage.Exclusions{Paths: []string{"/" + strings.Repeat("x", maxRule)}}}, "at most 200"},
		{storage.Settings{Exclude: storage.Exclusions{Paths: many[:maxPaths+1]}}, "at most 100"},
		{storage.Settings{Exclude: storage.Exclusions{Agents: many}}, "at most 500"},
		{storage.Settings{Exclude: storage.Exclusions{Countries: []string{"XX"}}}, `country "XX": unknown`},
		{storage.Settings{Exclude: storage.Exclusions{Countries: []string{"Germany"}}}, `country "Germany": unknown`},
		{storage.Settings{Exclude: storage.Exclusions{Networks: []string{"192.0.2.0/33"}}}, `network "192.0.2.0/33": want`},
		{storage.Settings{Exclude: storage.Exclusions{Networks: []string{"office"}}}, "network"},
		{storage.Settings{Exclude: storage.Exclusions{Networks: []string{"::ffff:0:0/90"}}}, "write it as IPv4"},
		{storage.Settings{Exclude: storage.Exclusions{Agents: []string{"ab"}}}, "at least 3"},
		{storage.Settings{Exclude: storage.Exclusions{Agents: []string{"größe"}}}, "ASCII"},
	} {
		err := CheckSettings(&tt.s, func(code string) bool { return code == "DE" })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.s, err, tt.want)
		}
	}
}

func TestSettingsThatLeaveOutAll(t *testing.T) {
	exclude := func(e storage.Exclusions) storage.Settings { return storage.Settings{Exclude: e} }
	for _, tt := range []struct {
		s    storage.Settings
		want string
	}{
		{storage.Settings{Hosts: []string{"*.example.com"}}, "example.com itself"},
		{storage.Settings{Hosts: []string{"shop.example.com", "example.com"}}, ""},
		{exclude(storage.Exclusions{Paths: []string{"/**"}}), "every page"},
		{exclude(storage.Exclusions{Paths: []string{"/a", "**"}}), "every page"},
		{exclude(storage.Exclusions{Paths: []string{"/*", "/a/**", "/"}}), ""},
		{exclude(storage.Exclusions{Networks: []string{"0.0.0.0/0"}}), "internet"},
		{exclude(storage.Exclusions{Networks: []string{"::/0"}}), "internet"},
		{exclude(storage.Exclusions{Networks: []string{"10.0.0.0/8", "2001:db8::/32"}}), ""},
		{exclude(storage.Exclusions{Agents: []string{"mozilla"}}), "every browser"},
		{exclude(storage.Exclusions{Agents: []string{"firefox"}}), ""},
	} {
		got := LeavesOutAll("example.com", &tt.s)
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%+v: %q, want %q", tt.s, got, tt.want)
		}
	}
}
