package tracker

import (
	"image/gif"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"dachs/storage"

	"github.com/valyala/fasthttp"
)

// TestPixel has a line for each parameter and header that says something about the page.
func TestPixel(t *testing.T) {
	c := newCounting(t)
	_, err := c.db.ChangeSettings("example.com", func(s *storage.Settings) error {
		s.Hosts = []string{"example.com", "*.example.com", "example.net", "*.example.org"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		query  string // of the image; * stands for d=example.com
		header []string
		want   string // hostname, page, event name, source
	}{
		"the page":                {"*&p=/about", nil, "example.com /about pageview Direct"},
		"no page":                 {"*", nil, "example.com / pageview Direct"},
		"no slash":                {"*&p=about", nil, "example.com /about pageview Direct"},
		"a campaign":              {"*&p=" + url.QueryEscape("/a?utm_source=letter&token=secret#x"), nil, "example.com /a pageview letter"},
		"a referrer":              {"*&p=/a&r=" + url.QueryEscape("https://other.example/x?q=1"), nil, "example.com /a pageview other.example"},
		"an event":                {"*&p=/a&n=Opened", nil, "example.com /a Opened Direct"},
		"the host of the page":    {"*&p=/a", []string{"Referer: https://shop.example.com/ignored?q"}, "shop.example.com /a pageview Direct"},
		"www":                     {"*&p=/a", []string{"Referer: https://www.example.com/"}, "example.com /a pageview Direct"},
		"an allowed host":         {"*&p=/a", []string{"Referer: https://example.net/"}, "example.net /a pageview Direct"},
		"below an allowed host":   {"*&p=/a", []string{"Referer: https://de.example.org/"}, "de.example.org /a pageview Direct"},
		"a page of somebody else": {"*&p=/a", []string{"Referer: https://evil.example/b"}, "example.com /a pageview Direct"},
		"like the site's":         {"*&p=/a", []string{"Referer: https://notexample.com/b"}, "example.com /a pageview Direct"},
		"the page by its address": {"*", []string{"Referer: https://example.com/b/c?token=secret"}, "example.com /b/c pageview Direct"},
		"not that of another":     {"*", []string{"Referer: https://evil.example/b"}, "example.com / pageview Direct"},
		"everything by address":   {"", []string{"Referer: https://example.com/b"}, "example.com /b pageview Direct"},
		"broken text":             {"*&p=/%ff", nil, "example.com /\uFFFD pageview Direct"},
		"long":                    {"*&p=/a%3Fx=" + strings.Repeat("y", 3000), nil, "example.com /a pageview Direct"},
		"an e-mail address":       {"*&p=/u/jane@example.org", nil, "example.com /u/:email pageview Direct"},
	} {
		t.Run(name, func(t *testing.T) {
			c.wait(7 * 24 * time.Hour) // counts looks at days around
			if resp, _ := c.do("GET", "/pixel.gif?"+strings.Replace(tt.query, "*", "d=example.com", 1), "", tt.header...); resp.StatusCode != 200 {
				t.Fatalf("answer %d", resp.StatusCode)
			}
			var got []string
			for _, column := range []storage.Column{storage.Hostname, storage.Path, storage.Name, storage.Source} {
				for key, n := range c.counts(column) {
					if n[3] == 1 {
						got = append(got, key)
					}
				}
			}
			if len(got) == 4 && got[3] == "" {
				got[3] = "Direct"
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("counted %q, want %q", got, tt.want)
			}
		})
	}
}

// TestPixelIsTheSameForAll asks for images that count and such that do not, for many reasons.
func TestPixelIsTheSameForAll(t *testing.T) {
	c := newCounting(t)
	want, image := c.do("GET", "/pixel.gif?d=example.com&p=/", "")
	if _, err := gif.Decode(strings.NewReader(image)); err != nil || len(image) != 43 {
		t.Errorf("image of %d bytes: %v", len(image), err)
	}
	for name, value := range map[string]string{"Cache-Control": "no-store", "Content-Type": "image/gif", "Cross-Origin-Resource-Policy": "cross-origin",
		"Set-Cookie": "", "Etag": "", "Last-Modified": "", "Access-Control-Allow-Origin": ""} {
		if got := want.Header.Get(name); got != value {
			t.Errorf("%s is %q", name, got)
		}
	}
	c.expect([4]int{1, 1, 1, 1})
	for _, tt := range []struct {
		query  string
		header []string
		reason Reason
	}{
		{"d=example.com&p=/", []string{"Sec-GPC: 1"}, GPC},
		{"", []string{"DNT: 1"}, DNT},
		{"d=example.com&p=/", []string{"User-Agent: Googlebot/2.1"}, Bot},
		{"d=example.com&p=/", []string{"Purpose: prefetch"}, Prefetch},
		{"d=unknown.example&p=/", nil, UnknownSite},
		{"", nil, Malformed},
		{"d=" + strings.Repeat("x", maxDomain+1), nil, Malformed},
		{"d=../<x>", nil, Malformed},
		{"d=example.com&p=/" + strings.Repeat("x", maxURL), nil, Malformed},
		{"d=example.com&p=/&n=engagement", nil, Malformed},
		{"d=example.com&p=/&n=" + strings.Repeat("x", maxName+1), nil, Malformed},
		{"%zz=%&&;=", nil, Malformed},
	} {
		before := c.tracker.Outcomes()[tt.reason]
		resp, text := c.do("GET", "/pixel.gif?"+tt.query, "", tt.header...)
		want.Header["Date"] = resp.Header["Date"]
		if resp.StatusCode != 200 || text != image || !equalHeaders(resp.Header, want.Header) {
			t.Errorf("%.40s: %d, %d bytes, %v", tt.query, resp.StatusCode, len(text), resp.Header)
		}
		if after := c.tracker.Outcomes()[tt.reason]; after != before+1 {
			t.Errorf("%.40s: %s was counted %d times", tt.query, tt.reason, after-before)
		}
	}
	c.expect([4]int{1, 1, 1, 1})
	if resp, _ := c.do("HEAD", "/pixel.gif?d=example.com&p=/", ""); resp.StatusCode != 200 || resp.ContentLength != 43 {
		t.Errorf("HEAD: %d, %d bytes", resp.StatusCode, resp.ContentLength)
	}
	c.expect([4]int{1, 1, 1, 1})
	if resp, _ := c.do("POST", "/pixel.gif?d=example.com&p=/", ""); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") == "" {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	c.do("GET", "/pixel.gif?d=example.com&p=/b", "", "X-Forwarded-For: 192.0.2.2")
	c.expect([4]int{2, 2, 2, 2})
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	if resp, text := c.do("GET", "/pixel.gif?d=example.com&p=/", ""); resp.StatusCode != 200 || text != image || c.tracker.Outcomes()[Overloaded] != 1 {
		t.Errorf("store that fails: %d", resp.StatusCode)
	}
}

// FuzzPixel holds that whatever the parameters and the Referer header are, an event within limits comes out, or none.
func FuzzPixel(f *testing.F) {
	f.Add("d=example.com&p=/a", "https://example.com/b?c#d")
	f.Add("d=a,b,example.com&p=%00%ff%3F&n=%0a&r=javascript:x", "x://\xff")
	f.Add("&&==%", "http://[::1]:80/")
	tr := new(Tracker)
	db, err := storage.Open(f.TempDir(), storage.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	tr.store = db
	f.Fuzz(func(t *testing.T, query, referer string) {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI("/pixel.gif?" + query)
		ctx.Request.Header.Set("Referer", referer)
		var p Payload
		if err := tr.decodePixel(&ctx, &p); err != nil {
			return
		}
		if a, ok := splitURL(p.URL); !ok || a.fragment != "" || len(p.URL) > maxURL || p.Name == "" || p.Domain == "" || len(p.Referrer) > maxReferrer {
			t.Errorf("%q: %+v", query, p)
		}
	})
}
