package tracker

import (
	"strings"
	"testing"

	"dachs/storage"
)

// TestCountingFromAServer sends events as a web server does, always from one address, for visitors that it names.
func TestCountingFromAServer(t *testing.T) {
	c := newCounting(t)
	other, err := c.db.AddSite("example.org", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	token := func(site storage.Site, scope storage.Scope) string {
		_, secret, err := c.db.CreateToken(site.ID, scope)
		if err != nil {
			t.Fatal(err)
		}
		return "Authorization: Bearer " + secret
	}
	count, read, foreign := token(c.site, storage.ScopeCount), token(c.site, storage.ScopeStats), token(other, storage.ScopeCount)
	const (
		event  = `{"name":"pageview","url":"https://example.com/","domain":"example.com"}`
		server = "X-Forwarded-For: 198.51.100.200" // as the proxy in front of Dachs writes it
	)
	with := func(field string) string { return strings.Replace(event, "{", "{"+field+",", 1) }
	// Each line is a visitor that is new, if it is believed, and else the server itself.
	for _, tt := range []struct {
		name, body, forwarded, token string
		status                       int
		isNew                        bool
	}{
		{"the server itself", event, server, "", 202, true},
		{"a field without a token", with(`"ip":"203.0.113.1"`), server, "", 202, false},
		{"a field that is no address, without a token", with(`"ip":"x"`), server, "", 202, false},
		{"a field", with(`"ip":"203.0.113.1"`), server, count, 202, true},
		{"the same", with(`"ip":"203.0.113.1"`), server, count, 202, false},
		{"the same, mapped", with(`"ip":"::ffff:203.0.113.1"`), server, count, 202, false},
		{"IPv6", with(`"ip":" 2001:db8::1 "`), server, count, 202, true},
		{"the same network", with(`"ip":"2001:db8::2"`), server, count, 202, false},
		{"no field", event, server, count, 202, false},
		{"a field that is null", with(`"ip":null`), server, count, 202, false},
		{"a header in front", event, server[:17] + "203.0.113.9, 198.51.100.200", "", 202, false},
		{"a header in front, with a token", event, server[:17] + "203.0.113.9, 198.51.100.200", count, 202, true},
		{"the field before the header", with(`"ip":"203.0.113.1"`), server[:17] + "203.0.113.10, 198.51.100.200", count, 202, false},
		{"a header that is no address", event, server[:17] + "unknown, 198.51.100.200", count, 202, false},
		{"no address", with(`"ip":"localhost"`), server, count, 400, false},
		{"a number", with(`"ip":1`), server, count, 400, false},
		{"a token that may read", with(`"ip":"203.0.113.20"`), server, read, 401, false},
		{"a token of another site", with(`"ip":"203.0.113.21"`), server, foreign, 401, false},
		{"a token of nobody", with(`"ip":"203.0.113.22"`), server, "Authorization: Bearer x", 401, false},
		{"a token of one site of two", strings.Replace(event, `"example.com"`, `"example.com,example.org"`, 1), server, count, 401, false},
		{"an unknown site", strings.ReplaceAll(event, "example.com", "unknown.example"), server, count, 401, false},
		{"a password for a proxy", event, server, "Authorization: Basic dTpw", 202, false},
	} {
		before := c.counts()[""]
		header := []string{tt.forwarded, "User-Agent: " + firefox}
		if tt.token != "" {
			header = append(header, tt.token)
		}
		resp, text := c.do("POST", "/api/event", tt.body, header...)
		if resp.StatusCode != tt.status {
			t.Errorf("%s: %d %s", tt.name, resp.StatusCode, text)
		}
		after := c.counts()[""]
		if (after[2] > before[2]) != (tt.status == 202) || (after[0] > before[0]) != tt.isNew {
			t.Errorf("%s: visitors, visits, page views and events were %v, are %v", tt.name, before, after)
		}
	}
	// An error tells a token that is wrong from a site that is unknown no more than the status does.
	_, wrong := c.do("POST", "/api/event", event, "Authorization: Bearer x")
	_, unknown := c.do("POST", "/api/event", strings.ReplaceAll(event, "example.com", "unknown.example"), count)
	if wrong != unknown || !strings.Contains(wrong, "dachs token create") {
		t.Errorf("errors are %s and %s", wrong, unknown)
	}
	before := c.counts()[""]
	c.hit(with(`"ip":"203.0.113.99"`), count, "Sec-GPC: 1")
	if after := c.counts()[""]; after != before {
		t.Errorf("somebody who objects was counted: %v, then %v", before, after)
	}
}
