package tracker

import (
	"math/rand/v2"
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
		{"https://example.com//", false, "example.com", "/"},
		{"https://example.com/index.html", false, "example.com", "/index.html"},
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
		if path := pagePath(a, c.hash, nil, new(Replaced)); a.host != c.host || path != c.path {
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
		"/a@.x@b.de":                                      "/:email",
		"/-@b.de@c":                                       "/-@b.de@c",
		"/@jane":                                          "/@jane",
		"/@jane/posts@2":                                  "/@jane/posts@2",
		"/package/react@18.2.0":                           "/package/react@18.2.0",
		"/o/550e8400-e29b-41d4-a716-446655440000":         "/o/:uuid",
		"/o/550E8400-E29B-41D4-A716-446655440000.html":    "/o/:uuid.html",
		"/o/x550e8400-e29b-41d4-a716-446655440000":        "/o/x:uuid",
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

		"/reset/Zm9vYmFyYmF6cXV4cXV1eA":         "/reset/:token",
		"/reset/Zm9vYmFyYmF6cXV4cXV1eA==/x":     "/reset/:token==/x",
		"/reset-vK9xQ2mLp7RtZ4wBn8Yc":           "/reset-:token",
		"/reset/abcdefghij0123456789K":          "/reset/abcdefghij0123456789K",
		"/reset/vK9xQ2mLp7RtZ4wBn8Y":            "/reset/vK9xQ2mLp7RtZ4wBn8Y", // one short
		"/wiki/Top10ThingsToSeeInRomeIn2024":    "/wiki/Top10ThingsToSeeInRomeIn2024",
		"/wiki/HowToInstallWindows11OnYourMac":  "/wiki/HowToInstallWindows11OnYourMac",
		"/docs/AbstractXMLHTTPRequestFactory":   "/docs/AbstractXMLHTTPRequestFactory",
		"/docs/AbstractSingletonProxyFactory":   "/docs/AbstractSingletonProxyFactory",
		"/sku/ABCDEFGHIJ0123456789":             "/sku/ABCDEFGHIJ0123456789",
		"/blog/das-20-jahre-jubilaeum-in-2024":  "/blog/das-20-jahre-jubilaeum-in-2024",
		"/Best-CRM-for-SaaS-in-2024-G2-Reviews": "/Best-CRM-for-SaaS-in-2024-G2-Reviews",

		"/pay/4111111111111111":                        "/pay/:card",
		"/pay/4111-1111-1111-1111":                     "/pay/:card",
		"/pay/4111 1111 1111 1111/x":                   "/pay/:card/x",
		"/pay/3782 822463 10005":                       "/pay/:card",
		"/pay/378282246310005":                         "/pay/:card",
		"/pay/30569309025904":                          "/pay/:card",
		"/pay/4222222222222":                           "/pay/:card",
		"/pay/4222 222 222 222":                        "/pay/:card",
		"/pay/6304000000000000000":                     "/pay/:card",
		"/pay-4111111111111111.html":                   "/pay-:card.html",
		"/pay/card4111111111111111x":                   "/pay/card:cardx",
		"/pay/2024-4111-1111-1111-1111-2024":           "/pay/2024-:card-2024",
		"/pay/4111111111111112":                        "/pay/4111111111111112", // wrong sum
		"/pay/4111--1111--1111--1111":                  "/pay/4111--1111--1111--1111",
		"/pay/41-11-11-11-11-11-11-11":                 "/pay/41-11-11-11-11-11-11-11",
		"/pay/411111111117":                            "/pay/411111111117", // 12 digits
		"/pay/%2F4111111111111111":                     "/pay/%2F:card",
		"/%254111111111111111":                         "/%25:card",
		"/pay/4111-1111-1111-1111-5500-0000-0000-0004": "/pay/:card-:card",

		// All of these have the sum of a card number.
		"/book/978-3-16-148409-4":     "/book/978-3-16-148409-4",
		"/book/978-3161484094":        "/book/978-3161484094",
		"/book/9783161484094":         "/book/9783161484094",
		"/item/4006381333023":         "/item/4006381333023",
		"/at/1700000000004":           "/at/1700000000004",
		"/at/1700000000000001":        "/at/1700000000000001",
		"/at/20240131123000":          "/at/20240131123000",
		"/at/20240131123045008":       "/at/20240131123045008",
		"/at/2024-01-31-12-30-00":     "/at/2024-01-31-12-30-00",
		"/map/@52.5200065900004,13.4": "/map/@52.5200065900004,13.4",

		"/2024/01/31/20240131":             "/2024/01/31/20240131",
		"/map/@52.5200065999996,13.4":      "/map/@52.5200065999996,13.4",
		"/release/1.22.333.4444.55555":     "/release/1.22.333.4444.55555",
		"/iphone-15-pro-256-gb/1234567":    "/iphone-15-pro-256-gb/1234567",
		"/order/0012345678":                "/order/0012345678",
		"/order/000000004711081512":        "/order/000000004711081512",
		"/order/001-2024-01-31":            "/order/001-2024-01-31",
		"/order-00491701234567":            "/order-00491701234567",
		"/news+20240131":                   "/news+20240131",
		"/c++/+12":                         "/c++/+12",
		"/call/+1234567":                   "/call/+1234567", // 7 digits
		"/call/+0491701234567":             "/call/+0491701234567",
		"/call/+1234567890123456":          "/call/+1234567890123456", // 16 digits
		"/call/+491701234567":              "/call/:phone",
		"/call/00491701234567":             "/call/:phone",
		"/call/0049 170 1234567":           "/call/:phone",
		"/call/+49-170-1234567/x":          "/call/:phone/x",
		"/call/+49 (170) 123.45.67":        "/call/:phone",
		"/call/+49 170 1234567-2024-01-31": "/call/:phone-2024-01-31",
		"tel:+491701234567":                "tel::phone",
		"/call/%2F+491701234567":           "/call/%2F:phone",
		"/call/+12345678":                  "/call/:phone",
		"/call/+123456789012345":           "/call/:phone",
	} {
		got := redact(in, new(Replaced))
		if got != want {
			t.Errorf("redact(%q) is %q, want %q", in, got, want)
		}
		if again := redact(got, new(Replaced)); again != got {
			t.Errorf("redact(%q) is %q, and that redacted again %q", in, got, again)
		}
	}
}

// Whatever stands beside each other, redacting twice changes nothing more.
func TestRedactIsStable(t *testing.T) {
	pieces := []string{"/", "-", " ", "+", "%", ".", "_", "00", "49", "170", "1234567", "4111", "1111", "4111111111111111", "@", "a", "Z", "example.com",
		"550e8400-e29b-41d4-a716-44665544000a", "0123456789abcdef", "Zm9vYmFyYmF6cXV4cXV1eA", "eyJhbGci", "%25", "%2F", "%40", "(", ":card", "=", "ü"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var b strings.Builder
		for range 1 + r.IntN(9) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		once := redact(b.String(), new(Replaced))
		if again := redact(once, new(Replaced)); again != once {
			t.Fatalf("redact(%q) is %q, and that redacted again %q", b.String(), once, again)
		}
	}
}

func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/a?b#c", "https://example.com/%C3%A4/%zz/%2f%3f", "https://example.com/\xc3%a4/a@b.de%40c.de", "http://[::1]/",
		"https://example.com/550e8400-e29b-41d4-a716-446655440000/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0", `https://example.com\a/#/b/?c#d`,
		"https://example.com/" + strings.Repeat("%C3%A4", 1000), "https://example.com/" + strings.Repeat("a", 1990) + "/0123456789abcdef0123",
		"https://example.com/+491701234567/4111-1111 1111%201111/Zm9vYmFyYmF6cXV4cXV1eA", "https://example.com/550e8400-e29b-41d4-a716-446655440a004111111111111111",
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
		path := cleanPath(a.path, new(Replaced))
		if !strings.HasPrefix(path, "/") || len(path) > 1 && strings.HasSuffix(path, "/") {
			t.Errorf("path %q", path)
		}
		if strings.ContainsAny(path, "?#") || len(path) > maxPath || !utf8.ValidString(path) {
			t.Errorf("path %q of %q", path, url)
		}
		if again := cleanPath(path, new(Replaced)); again != path {
			t.Errorf("path %q becomes %q when cleaned again", path, again)
		}
		if page := pagePath(a, hash, nil, new(Replaced)); strings.Contains(page, "?") || len(page) > maxPath || !utf8.ValidString(page) {
			t.Errorf("page %q of %q", page, url)
		}
	})
}
