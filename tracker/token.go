package tracker

import (
	"strings"

	"dachs/storage"

	"github.com/valyala/fasthttp"
)

// maxSecret is the longest secret that is looked up, in bytes. Ours have 43.
const maxSecret = 128

// trusted tells whether a request carries a token, as Authorization: Bearer, that may count for a site. Only then is
// anything believed that a request says of the visitor it counts for: everybody else can write there what they like. A
// token of another site, one that may only read, and an unknown one are worth as much as none.
func (t *Tracker) trusted(ctx *fasthttp.RequestCtx, site storage.Site) bool {
	return t.mayCount(bearer(ctx), site)
}

// bearer returns the secret in the Authorization header of a request, or "".
func bearer(ctx *fasthttp.RequestCtx) string {
	header := ctx.Request.Header.Peek(fasthttp.HeaderAuthorization)
	if len(header) == 0 {
		return "" // the common case costs nothing
	}
	scheme, secret, _ := strings.Cut(string(header), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// mayCount tells whether a secret is that of a token that may count for a site. It takes no longer for a secret that is
// nearly right: the store looks for its hash. A store that cannot be read trusts nobody.
func (t *Tracker) mayCount(secret string, site storage.Site) bool {
	if secret == "" || len(secret) > maxSecret {
		return false
	}
	token, err := t.store.TokenOf(secret)
	return err == nil && token.Site == site.ID && token.May(storage.ScopeCount)
}
