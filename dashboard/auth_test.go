package dashboard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSetUpOnce(t *testing.T) {
	b := newBoard(t, Options{})
	secret, err := b.db.CreateSetup(30 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if html := b.get("/").Body.String(); !strings.Contains(html, "not set up yet") || !strings.Contains(html, "dachs user setup") {
		t.Error("before set-up the start page does not say what to do")
	}
	if w := b.get("/setup/" + secret); w.Code != http.StatusOK {
		t.Fatalf("set-up page: status %d", w.Code)
	}
	form := setupForm("https://www.Shop.example/")
	w := b.request("POST", "/setup/"+secret, form)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/sites/shop.example/tag" {
		t.Fatalf("set-up: status %d to %q", w.Code, w.Header().Get("Location"))
	}
	if html := b.page("/sites/shop.example/tag"); !strings.Contains(html, "data-domain=&#34;shop.example&#34;") {
		t.Error("after set-up the tag is not shown")
	}
	site, ok := b.db.Site("shop.example")
	if !ok || site.TimeZone != "Europe/Berlin" {
		t.Errorf("site is %+v, %v", site, ok)
	}
	o, ok, err := b.db.Owner()
	if err != nil || !ok || !strings.HasPrefix(o.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("owner is %+v, %v, %v", o, ok, err)
	}
	form.Set("password", "another password")
	form.Set("again", "another password")
	for _, method := range []string{"GET", "POST"} {
		if w := b.request(method, "/setup/"+secret, form); w.Code != http.StatusGone {
			t.Errorf("second %s of the set-up link: status %d, want 410", method, w.Code)
		}
	}
	if after, _, _ := b.db.Owner(); after.PasswordHash != o.PasswordHash {
		t.Error("the second use of the link changed the password")
	}
}

// TestSetUpAgain: a lost password costs no site, and ends all logins.
func TestSetUpAgain(t *testing.T) {
	b := newBoard(t, Options{})
	b.setUp("shop.example")
	old := b.cookies["dachs_login"]
	secret, err := b.db.CreateSetup(30 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if html := b.page("/setup/" + secret); strings.Contains(html, `name="domain"`) {
		t.Error("the form asks for a first site although there is one")
	}
	w := b.request("POST", "/setup/"+secret, url.Values{"password": {"a new password"}, "again": {"a new password"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" || len(b.db.Sites()) != 1 {
		t.Fatalf("status %d to %q, %d sites", w.Code, w.Header().Get("Location"), len(b.db.Sites()))
	}
	b.page("/sites")
	b.cookies["dachs_login"] = old
	if w := b.get("/sites"); w.Code != http.StatusSeeOther {
		t.Errorf("the old login still works: status %d", w.Code)
	}
}

// TestBusy: when all turns are taken, a login is told to come back instead of taking more memory.
func TestBusy(t *testing.T) {
	p := newPasswords()
	for range maxHashing {
		p.turns <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.matches(ctx, "x", "y"); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that has gone: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPasswords()
		for range maxHashing {
			p.turns <- struct{}{}
		}
		start := time.Now()
		if _, err := p.hash(t.Context(), testPassword); !errors.Is(err, errBusy) || time.Since(start) != hashPatience {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestSetUpExpires(t *testing.T) {
	b := newBoard(t, Options{})
	secret, err := b.db.CreateSetup(30 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(31 * time.Minute)
	if w := b.request("POST", "/setup/"+secret, setupForm("shop.example")); w.Code != http.StatusGone {
		t.Errorf("expired link: status %d, want 410", w.Code)
	}
	if _, ok, _ := b.db.Owner(); ok || len(b.db.Sites()) != 0 {
		t.Error("an expired link set something up")
	}
}

func TestSetUpRefuses(t *testing.T) {
	b := newBoard(t, Options{})
	secret, err := b.db.CreateSetup(30 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ field, value, says string }{
		{"password", "short", "at least 10 characters"},
		{"password", "ten chars!x but another", "differ"},
		{"domain", "not a domain", "Domain"},
		{"domain", "", "Domain"},
		{"timezone", "Mars/Olympus", "Time zone"},
		{"timezone", "Local", "Time zone"},
		{"timezone", "../../etc/passwd", "Time zone"},
	} {
		form := setupForm("shop.example")
		form.Set(c.field, c.value)
		w := b.request("POST", "/setup/"+secret, form)
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s %q: status %d, want 422 and %q", c.field, c.value, w.Code, c.says)
		}
		if strings.Contains(w.Body.String(), testPassword) {
			t.Errorf("%s %q: the page holds the password", c.field, c.value)
		}
	}
	if w := b.request("POST", "/setup/"+secret, setupForm("shop.example")); w.Code != http.StatusSeeOther {
		t.Errorf("after typing errors the link is used up: status %d", w.Code)
	}
}

func TestLogin(t *testing.T) {
	b := newBoard(t, Options{})
	b.setUp("shop.example")
	b.cookies = map[string]string{}
	next := "/sites/shop.example?period=7d&f=is,visit:source,Google"
	w := b.get(next)
	if got, want := w.Header().Get("Location"), "/login?next="+url.QueryEscape(next); got != want {
		t.Fatalf("leads to %q, want %q", got, want)
	}
	w = b.request("POST", "/login", url.Values{"password": {"wrong password"}, "next": {next}})
	if w.Code != http.StatusForbidden || len(b.cookies) != 0 {
		t.Fatalf("wrong password: status %d, cookies %v", w.Code, b.cookies)
	}
	w = b.request("POST", "/login", url.Values{"password": {testPassword}, "next": {next}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != next {
		t.Fatalf("right password: status %d to %q", w.Code, w.Header().Get("Location"))
	}
	c := w.Result().Cookies()[0]
	if c.Name != "dachs_login" || !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie is %s", c)
	}
	b.page(next)
	stolen := c.Value
	if w := b.request("POST", "/logout", nil); w.Code != http.StatusSeeOther || len(b.cookies) != 0 {
		t.Errorf("logout: status %d, cookies %v", w.Code, b.cookies)
	}
	b.cookies["dachs_login"] = stolen
	if w := b.get("/sites"); w.Code != http.StatusSeeOther {
		t.Errorf("a login that has ended still works: status %d", w.Code)
	}
}

func TestLoginEndsAfterAMonth(t *testing.T) {
	b := newBoard(t, Options{})
	b.setUp("shop.example")
	b.page("/sites")
	b.now = b.now.Add(loginLasts + time.Minute)
	if w := b.get("/sites"); w.Code != http.StatusSeeOther {
		t.Errorf("status %d, want a redirect to the login", w.Code)
	}
}

func TestCookieOverHTTPS(t *testing.T) {
	b := newBoard(t, Options{BaseURL: "https://stats.example.com"})
	secret, err := b.db.CreateSetup(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c := b.request("POST", "/setup/"+secret, setupForm("shop.example")).Result().Cookies()[0]
	if c.Name != "__Host-dachs_login" || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie is %s", c)
	}
	b.page("/sites")
}

func TestLoginIsThrottled(t *testing.T) {
	b := newBoard(t, Options{})
	b.setUp("shop.example")
	try := func(addr, password string) int {
		return b.request("POST", "/login", url.Values{"password": {password}},
			func(r *http.Request) { r.RemoteAddr = addr; r.Header.Del("Cookie") }).Code
	}
	for range attemptBurst {
		if got := try("192.0.2.1:1000", "wrong password"); got != http.StatusForbidden {
			t.Fatalf("status %d, want 403", got)
		}
	}
	if got := try("192.0.2.1:2000", testPassword); got != http.StatusTooManyRequests {
		t.Errorf("after %d wrong ones: status %d, want 429", attemptBurst, got)
	}
	b.now = b.now.Add(attemptEvery)
	if got := try("192.0.2.1:3000", testPassword); got != http.StatusSeeOther {
		t.Errorf("after a while: status %d, want 303", got)
	}
}

func TestClientNet(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[2001:db8:1:2:3::4]:80": "2001:db8:1:2::/64", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"[fe80::1%eth0]:80": "fe80::/64", "192.0.2.1": "192.0.2.1", "@": "@",
	} {
		if got := clientNet(in); got != want {
			t.Errorf("clientNet(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCrossOriginPostsAreRefused(t *testing.T) {
	b := newBoard(t, Options{BaseURL: "https://stats.example.com"})
	b.setUp("shop.example")
	f := func(want int, header, value string) {
		t.Helper()
		w := b.request("POST", "/sites", url.Values{"domain": {"new.example"}, "timezone": {"UTC"}}, func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set(header, value)
		})
		if w.Code != want {
			t.Errorf("%s: %s: status %d, want %d", header, value, w.Code, want)
		}
	}
	f(http.StatusForbidden, "Sec-Fetch-Site", "cross-site")
	f(http.StatusForbidden, "Sec-Fetch-Site", "same-site")
	f(http.StatusForbidden, "Origin", "https://evil.example")
	f(http.StatusForbidden, "Origin", "null")
	if len(b.db.Sites()) != 1 {
		t.Error("a foreign form added a site")
	}
	f(http.StatusSeeOther, "Origin", "https://stats.example.com") // behind a proxy that changes Host
}

func TestLocalPath(t *testing.T) {
	for in, want := range map[string]string{
		"/sites": "/sites", "/sites/a?b=c:d": "/sites/a?b=c:d", "": "/", "sites": "/", "//evil.example": "/", `/\evil.example`: "/",
		"https://evil.example": "/", "/\t/evil.example": "/", "javascript:alert(1)": "/", "/%zz": "/",
	} {
		if got := localPath(in); got != want {
			t.Errorf("localPath(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAddSite(t *testing.T) {
	b := newBoard(t, Options{})
	b.setUp("shop.example")
	f := func(want int, domain, zone, says string) {
		t.Helper()
		w := b.request("POST", "/sites", url.Values{"domain": {domain}, "timezone": {zone}})
		if w.Code != want || !strings.Contains(w.Body.String()+w.Header().Get("Location"), says) {
			t.Errorf("add %q in %q: status %d to %q, want %d and %q", domain, zone, w.Code, w.Header().Get("Location"), want, says)
		}
	}
	f(http.StatusSeeOther, "http://WWW.blog.example/x", "America/New_York", "/sites/blog.example/tag")
	f(http.StatusConflict, "blog.example", "UTC", "already")
	f(http.StatusUnprocessableEntity, "a b", "UTC", "Domain")
	f(http.StatusUnprocessableEntity, "c.example", "Nowhere", "Time zone")
	html := b.page("/sites")
	for _, want := range []string{"shop.example", "blog.example", "America/New_York"} {
		if !strings.Contains(html, want) {
			t.Errorf("list lacks %s", want)
		}
	}
}
