package tracker

import (
	"strings"
	"testing"

	"dachs/storage"

	"github.com/valyala/fasthttp"
)

func TestTrusted(t *testing.T) {
	c := newCounting(t)
	other, err := c.db.AddSite("example.org", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	create := func(site storage.Site, scope storage.Scope) (storage.Token, string) {
		token, secret, err := c.db.CreateToken(site.ID, scope)
		if err != nil {
			t.Fatal(err)
		}
		return token, secret
	}
	_, good := create(c.site, storage.ScopeCount)
	_, reads := create(c.site, storage.ScopeStats)
	_, old := create(c.site, "") // from before there were scopes
	_, foreign := create(other, storage.ScopeCount)
	gone, revoked := create(c.site, storage.ScopeCount)
	if err := c.db.RevokeToken(gone.ID); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, header string
		want         bool
	}{
		{"none", "", false},
		{"one that may count", "Bearer " + good, true},
		{"in other case, with spaces", "bearer  " + good + " ", true},
		{"one that may read", "Bearer " + reads, false},
		{"one from before there were scopes", "Bearer " + old, false},
		{"of another site", "Bearer " + foreign, false},
		{"revoked", "Bearer " + revoked, false},
		{"wrong", "Bearer " + good + "x", false},
		{"cut", "Bearer " + good[:12], false},
		{"another scheme", "Basic " + good, false},
		{"without a scheme", good, false},
		{"the scheme alone", "Bearer", false},
		{"too long", "Bearer " + strings.Repeat("x", 1<<14), false},
		{"the hash", "Bearer " + gone.Hash, false},
	} {
		var ctx fasthttp.RequestCtx
		if tt.header != "" {
			ctx.Request.Header.Set("Authorization", tt.header)
		}
		if got := c.tracker.trusted(&ctx, c.site); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
