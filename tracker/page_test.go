package tracker

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPage(t *testing.T) {
	long := "/" + strings.Repeat("ä", 1500)
	for _, c := range []struct {
		url        string
		hash       bool
		host, path string
	}{
		{"https://example.com", false, "example.com", "/"},
		{"https://example.com/", false, "example.com", "/"},
		{"HTTPS://WWW.Example.COM:8443/A/b/", false, "example.com", "/A/b"},
		{"http://www.example.com./x", false, "example.com", "/x"},
		{"http://user:secret@example.com/x", false, "example.com", "/x"},
		{"http://www.com/x", false, "www.com", "/x"},
		{"http://www.www.example.com/x", false, "example.com", "/x"},
		{"http://localhost:3000/x", false, "localhost", "/x"},
		{"http://[::1]:8080/x", false, "[::1]", "/x"},
		{"http://[2001:DB8::1]/x", false, "[2001:db8::1]", "/x"},
		{"https://müller.example/über", false, "müller.example", "/über"},
		{"https://example.com?q=1", false, "example.com", "/"},
		{"https://example.com/a?q=/secret", false, "example.com", "/a"},
		{"https://example.com/a#secret", false, "example.com", "/a"},
		{"https://example.com/a/#/b/c/?token=1", true, "example.com", "/a#/b/c"},
		{"https://example.com/#access_token=abc&x=1", true, "example.com", "/"},
		{"https://example.com/#", true, "example.com", "/"},
		{"https://example.com/#!/route=1", true, "example.com", "/#!/route=1"},
		{"https://example.com/a//b///", false, "example.com", "/a//b"},
		{`https://example.com\a\b`, false, "example.com", "/a/b"},
		{"https://example.com/%C3%A4%20b%2fc", false, "example.com", "/ä b%2Fc"},
		{"https://example.com/%3fa%23b%25c", false, "example.com", "/%3Fa%23b%25c"},
		{"https://example.com/100%/%zz", false, "example.com", "/100%25/%25zz"},
		{"https://example.com/%ff%c3", false, "example.com", "/%FF%C3"},
		{"https://example.com/%00%0a%1b%7f", false, "example.com", "/%00%0A%1B%7F"},
		{"https://example.com/\xff\n", false, "example.com", "/%FF%0A"},
		{"https://example.com/%e2%80%ae", false, "example.com", "/%E2%80%AE"}, // turns the reading direction
		{"https://example.com" + long, false, "example.com", long[:1999]},
		{"capacitor://localhost/x", false, "localhost", "/x"},
		{"android-app://com.example.app/", false, "com.example.app", "/"},
	} {
		a, ok := splitURL(c.url)
		if !ok {
			t.Errorf("%q is refused", c.url)
			continue
		}
		if path := pagePath(a, c.hash); a.host != c.host || path != c.path {
			t.Errorf("%q is host %q, path %q; want %q, %q", c.url, a.host, path, c.host, c.path)
		}
	}
}

func TestNoPage(t *testing.T) {
	for _, url := range []string{
		"", "/path", "example.com/path", "//example.com/path", "https://", "https:///path", "https://?q", "https://.", "https://:80/",
		"data:text/html,x", "javascript:alert(1)", "javascript://example.com/%0aalert(1)", "JavaScript://example.com", "blob://example.com/1",
		"about:blank", "file:///etc/passwd", "file://host/x", "view-source://example.com", "ht tp://example.com", "1http://example.com",
		"https://exa mple.com/", "https://exa%20mple.com/", "https://example.com<script>/", "https://[::1/", "https://[zz]/", "https://" + strings.Repeat("a", 254) + "/",
	} {
		if a, ok := splitURL(url); ok {
			t.Errorf("%q is taken for a page: %+v", url, a)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"/about/team":                                     "/about/team",
		"/user/jane.doe@example.com/edit":                 "/user/:email/edit",
		"/user/jane%40example.com":                        "/user/:email",
		"/user/jane%252540example.com":                    "/user/:email",
		"/user/jane+news@mail.example.co.uk;x":            "/user/:email;x",
		"/user/jürgen@müller.example":                     "/user/:email",
		"/mail=jane@example.com":                          "/mail=:email",
		"/a@b.de@c.de":                                    "/:email",
		"/@jane":                                          "/@jane",
		"/@jane/posts@2":                                  "/@jane/posts@2",
		"/package/react@18.2.0":                           "/package/react@18.2.0",
		"/o/550e8400-e29b-41d4-a716-446655440000":         "/o/:uuid",
		"/o/550E8400-E29B-41D4-A716-446655440000.html":    "/o/:uuid.html",
		"/o/x550e8400-e29b-41d4-a716-446655440000":        "/o/x550e8400-e29b-41d4-a716-446655440000",
		"/reset/0123456789abcdef0123":                     "/reset/:id",
		"/reset/0123456789abcdef012":                      "/reset/0123456789abcdef012",
		"/reset/user-01234567890123456789":                "/reset/user-:id",
		"/2026/11/23/a-very-long-title-of-a-blog-post":    "/2026/11/23/a-very-long-title-of-a-blog-post",
		"/acceleratedaccelerated-is-no-hex":               "/acceleratedaccelerated-is-no-hex",
		"/magic/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s_-": "/magic/:token",
		"/magic-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0":     "/magic-:token",
		"/a%20550e8400-e29b-41d4-a716-446655440000":       "/a%20:uuid",
		"/%250123456789abcdef0123":                        "/%25:id",
		"/%25012345678901234567":                          "/%25012345678901234567",
		"/eyJones":                                        "/eyJones",
	} {
		if got := redact(in); got != want {
			t.Errorf("redact(%q) is %q, want %q", in, got, want)
		}
	}
}

func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/a?b#c", "https://example.com/%C3%A4/%zz/%2f%3f", "https://example.com/\xc3%a4/a@b.de%40c.de", "http://[::1]/",
		"https://example.com/550e8400-e29b-41d4-a716-446655440000/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0", `https://example.com\a/#/b/?c#d`,
		"https://example.com/" + strings.Repeat("%C3%A4", 1000), "https://example.com/" + strings.Repeat("a", 1990) + "/0123456789abcdef0123",
	} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, url string, hash bool) {
		a, ok := splitURL(url)
		if !ok {
			return
		}
		if a.host == "" || strings.ContainsAny(a.host, "/?#@ ") || a.host != strings.ToLower(a.host) {
			t.Errorf("host %q", a.host)
		}
		if again, ok := cleanHost(a.host); !ok || again != a.host {
			t.Errorf("host %q becomes %q when cleaned again", a.host, again)
		}
		path := cleanPath(a.path)
		if !strings.HasPrefix(path, "/") || len(path) > 1 && strings.HasSuffix(path, "/") {
			t.Errorf("path %q", path)
		}
		if strings.ContainsAny(path, "?#") || len(path) > maxPath || !utf8.ValidString(path) {
			t.Errorf("path %q of %q", path, url)
		}
		if again := cleanPath(path); again != path {
			t.Errorf("path %q becomes %q when cleaned again", path, again)
		}
		if page := pagePath(a, hash); strings.Contains(page, "?") || len(page) > maxPath || !utf8.ValidString(page) {
			t.Errorf("page %q of %q", page, url)
		}
	})
}
