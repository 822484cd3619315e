package accesslog

import "testing"

func TestJudge(t *testing.T) {
	f := func(want Verdict, q Request) {
		t.Helper()
		if q.Method == "" {
			q.Method = "GET"
		}
		if q.Status == 0 {
			q.Status = 200
		}
		if got := q.Judge(); got != want {
			t.Errorf("%s %s %d %q: verdict %d, want %d", q.Method, q.Target, q.Status, q.ContentType, got, want)
		}
	}
	for _, target := range []string{
		"/", "", "/a", "/a/", "/a.html", "/a.htm?x=a.css", "/index.php", "/run.cgi?format=pdf", "/logstash-1.0.0/", "/v1.4", "/v1.4?",
		"/a?feed=", "/tags/rss", "/blog/tags/atom/", "/tags/graphql", "/?q=atom", "/api/", "/api/intro", "/api/version", "/apis/v1",
		"/a.html#b.css", "/.", "/..", "/a.", "/well-known/x", "/feeds",
	} {
		f(Page, Request{Target: target})
	}
	for _, target := range []string{
		"/a.css", "/A.CSS?v=1", "/x/y.min.js", "/robots.txt", "/favicon.ico", "/sitemap.xml", "/paper.pdf", "/a.tar.gz", "/script.py",
		"/feed", "/feed/", "/blog/feed/", "/feed/atom/", "/rss", "/atom.xml", "/?feed=rss2", "/tags/x?flav=rss20", "/?a=b&FORMAT=Atom1.0",
		"/.well-known/security.txt", "/.well-known/change-password", "/wp-json/wp/v2/posts", "/xmlrpc.php", "/wp-admin/admin-ajax.php?action=x",
		"/api/v1/things", "/shop/api/v2.1/things", "/graphql", "/d.js", "/pixel.gif?d=x", "/app.js.map", "/photo.jpeg#x",
	} {
		f(Asset, Request{Target: target})
	}
	for _, status := range []int{200, 201, 203, 226, 304} {
		f(Page, Request{Target: "/", Status: status})
	}
	for _, status := range []int{100, 204, 205, 206, 301, 302, 307, 400, 404, 410, 500, 503, 999} {
		f(NotServed, Request{Target: "/", Status: status})
	}
	for _, method := range []string{"HEAD", "POST", "OPTIONS", "get", "-"} {
		f(NotGet, Request{Target: "/", Method: method})
	}
	if got := (&Request{Status: 408}).Judge(); got != NotGet {
		t.Errorf("no request at all: verdict %d", got)
	}
	// What the server says of its answer is better than a guess by the address.
	f(Page, Request{Target: "/report.pdf", ContentType: "text/html; charset=utf-8"})
	f(Page, Request{Target: "/x", ContentType: "Application/XHTML+XML"})
	f(Asset, Request{Target: "/x", ContentType: "application/json"})
	f(Asset, Request{Target: "/x", ContentType: "text/htmlish"})
}
