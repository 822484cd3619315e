package dashboard

import (
	"errors"
	"net/http"
	"strings"

	"dachs/storage"
)

var (
	errNoToken = &apiError{http.StatusUnauthorized,
		"no token: send the header Authorization: Bearer TOKEN; dachs token create makes one"}
	// errBadToken is the answer to every token that does not open the site, so that nobody learns from
	// it which tokens or sites exist.
	errBadToken = &apiError{http.StatusUnauthorized,
		"token and site_id do not belong together: one of them is unknown, or the token is for another site, or for counting"}
)

// serveQuery answers queries about the one site that the request's bearer token is for.
func (s *Server) serveQuery(w http.ResponseWriter, r *http.Request) {
	api := &statsAPI{store: s.store, now: s.now, log: s.logger, admit: func(r *http.Request) (siteFinder, error) {
		return admitToken(s.store, r)
	}}
	api.ServeHTTP(w, r)
}

// admitToken admits the bearer token of a request to the site that it was made for.
func admitToken(store *storage.DB, r *http.Request) (siteFinder, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	secret = strings.TrimSpace(secret)
	if !strings.EqualFold(scheme, "bearer") || secret == "" {
		return nil, errNoToken
	}
	token, err := store.TokenOf(secret)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errBadToken
	}
	if err != nil {
		return nil, err
	}
	if !token.May(storage.ScopeStats) {
		return nil, errBadToken
	}
	return func(domain string) (storage.Site, error) {
		site, ok := findSite(store, domain)
		if !ok || site.ID != token.Site {
			return storage.Site{}, errBadToken
		}
		return site, nil
	}, nil
}
