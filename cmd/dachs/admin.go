package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"dachs/dashboard"
	"dachs/storage"
	"dachs/tracker"
)

// setupValidFor is how long a set-up link works: long enough to walk to another machine, short enough that
// a line left in a terminal or a container's log is worthless the next day.
const setupValidFor = 30 * time.Minute

// admin answers the commands. Every command is an HTTP request to it: over a unix socket when a server has
// the store open, in the command's own process when none has. So a command does the same in both cases, and
// only one process ever touches the store.
type admin struct {
	store *storage.DB
	geo   *tracker.Geo // for imports
	// dataCentres are for imports too; nil if a command has opened the store itself.
	dataCentres *tracker.Networks
	base        string // address of the dashboard, without a slash at the end
	listen      string // host and port of the server; empty without one
	logger      *slog.Logger
	now         func() time.Time

	checkup *checkup // nil without a server

	// running counts requests under way. The store must not close before it is down to zero: an import that
	// is cut off drops what it wrote.
	running sync.WaitGroup
}

// handler returns the routes. There is no login: who can reach the socket can read the store's files anyway.
func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sites", a.listSites)
	mux.HandleFunc("POST /sites", a.addSite)
	mux.HandleFunc("DELETE /sites/{domain}", a.removeSite)
	mux.HandleFunc("GET /sites/{domain}", a.showSite)
	mux.HandleFunc("PATCH /sites/{domain}/settings", a.changeSettings)
	mux.HandleFunc("GET /sites/{domain}/refusals", a.refusals)
	mux.HandleFunc("GET /sites/{domain}/keep", a.keep)
	mux.HandleFunc("PATCH /sites/{domain}/keep", a.changeKeep)
	mux.HandleFunc("POST /sites/{domain}/forget", a.forget)
	mux.HandleFunc("PATCH /sites/{domain}/aliases", a.changeAliases)
	mux.HandleFunc("GET /tokens", a.listTokens)
	mux.HandleFunc("POST /tokens", a.createToken)
	mux.HandleFunc("DELETE /tokens/{id}", a.revokeToken)
	mux.HandleFunc("POST /setup", a.createSetup)
	mux.Handle("POST /query", dashboard.QueryHandler(a.store, a.now))
	mux.HandleFunc("POST /import/log", a.importLog)
	mux.HandleFunc("POST /backup", a.backup)
	mux.HandleFunc("GET /check", a.check)
	mux.HandleFunc("POST /doctor", a.doctor)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.running.Add(1)
		defer a.running.Done()
		defer func() {
			v := recover()
			if v == http.ErrAbortHandler {
				panic(v) // the quiet way of net/http to cut a connection
			}
			if v != nil {
				logPanic(a.logger, v)
				refuse(w, http.StatusInternalServerError, errors.New("internal error; the server's log says where"))
			}
		}()
		mux.ServeHTTP(w, r)
	})
}

// newSite is the body of POST /sites.
type newSite struct {
	Domain   string `json:"domain"`
	TimeZone string `json:"timezone"`
}

// newToken is the body of POST /tokens.
type newToken struct {
	Site  string        `json:"site"` // domain
	Scope storage.Scope `json:"scope"`
}

// tokenInfo is a token as commands show it. Secret is set only in the answer that creates it.
type tokenInfo struct {
	ID      string        `json:"id"`
	Site    string        `json:"site"` // domain
	Created time.Time     `json:"created"`
	Scope   storage.Scope `json:"scope"`
	Secret  string        `json:"secret,omitempty"`
}

// setupLink is the answer of POST /setup.
type setupLink struct {
	URL   string    `json:"url"`
	Until time.Time `json:"until"`
}

func (a *admin) listSites(w http.ResponseWriter, _ *http.Request) {
	sites := a.store.Sites()
	if sites == nil {
		sites = []storage.Site{}
	}
	answer(w, http.StatusOK, sites)
}

func (a *admin) addSite(w http.ResponseWriter, r *http.Request) {
	var in newSite
	if !decode(w, r, &in) {
		return
	}
	domain, err := storage.CleanDomain(in.Domain)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	// AddSite checks this too, but its errors do not tell a caller's mistake from a failing store.
	zone, err := storage.CleanZone(in.TimeZone)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	site, err := a.store.AddSite(domain, zone)
	if errors.Is(err, storage.ErrExists) {
		refuse(w, http.StatusConflict, fmt.Errorf("%s exists already: see `dachs site list`", domain))
		return
	}
	if err != nil {
		refuseStore(w, err)
		return
	}
	answer(w, http.StatusCreated, site)
}

func (a *admin) removeSite(w http.ResponseWriter, r *http.Request) {
	site, ok := a.site(w, r.PathValue("domain"))
	if !ok {
		return
	}
	err := a.store.RemoveSite(site.Domain)
	if err == nil {
		err = a.store.Purge(r.Context()) // gone means gone from the files
	}
	if err != nil {
		refuseStore(w, err)
		return
	}
	answer(w, http.StatusOK, site)
}

func (a *admin) listTokens(w http.ResponseWriter, _ *http.Request) {
	tokens, err := a.store.Tokens()
	if err != nil {
		refuseStore(w, err)
		return
	}
	domains := map[uint32]string{}
	for _, s := range a.store.Sites() {
		domains[s.ID] = s.Domain
	}
	list := make([]tokenInfo, len(tokens))
	for i, t := range tokens {
		list[i] = tokenInfo{ID: t.ID, Site: domains[t.Site], Created: t.Created, Scope: storage.ScopeStats}
		if t.May(storage.ScopeCount) {
			list[i].Scope = storage.ScopeCount
		}
	}
	answer(w, http.StatusOK, list)
}

func (a *admin) createToken(w http.ResponseWriter, r *http.Request) {
	var in newToken
	if !decode(w, r, &in) {
		return
	}
	site, ok := a.site(w, in.Site)
	if !ok {
		return
	}
	in.Scope = cmp.Or(in.Scope, storage.ScopeStats)
	if in.Scope != storage.ScopeStats && in.Scope != storage.ScopeCount {
		refuse(w, http.StatusBadRequest, fmt.Errorf("scope %q: want %s or %s", in.Scope, storage.ScopeStats, storage.ScopeCount))
		return
	}
	t, secret, err := a.store.CreateToken(site.ID, in.Scope)
	if err != nil {
		refuseStore(w, err)
		return
	}
	answer(w, http.StatusCreated, tokenInfo{ID: t.ID, Site: site.Domain, Created: t.Created, Scope: t.Scope, Secret: secret})
}

func (a *admin) revokeToken(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if err := a.store.RevokeToken(id); errors.Is(err, storage.ErrNotFound) {
		refuse(w, http.StatusNotFound, errors.New("there is no such token; `dachs token list` shows all"))
		return
	} else if err != nil {
		refuseStore(w, err)
		return
	}
	answer(w, http.StatusOK, tokenInfo{ID: id})
}

func (a *admin) createSetup(w http.ResponseWriter, _ *http.Request) {
	link, err := a.newSetupLink()
	if err != nil {
		refuseStore(w, err)
		return
	}
	answer(w, http.StatusCreated, link)
}

// newSetupLink makes a link on which the owner chooses a password. Earlier links are void after it.
func (a *admin) newSetupLink() (setupLink, error) {
	secret, err := a.store.CreateSetup(setupValidFor)
	if err != nil {
		return setupLink{}, err
	}
	return setupLink{URL: a.base + "/setup/" + secret, Until: a.now().Add(setupValidFor)}, nil
}

// site finds the site that a command named, or answers why there is none.
func (a *admin) site(w http.ResponseWriter, domain string) (storage.Site, bool) {
	clean, err := storage.CleanDomain(domain)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return storage.Site{}, false
	}
	site, ok := a.store.Site(clean)
	if !ok {
		refuse(w, http.StatusNotFound, usagef("there is no site %s; `dachs site list` shows all, `dachs site add %s` adds it", clean, clean))
	}
	return site, ok
}

// failure is the body of every answer that is not a success.
type failure struct {
	Error string `json:"error"`
}

// maxAdminBody bounds what decode reads: a command's JSON is a few hundred bytes.
const maxAdminBody = 64 << 10

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody)).Decode(into)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
	}
	return err == nil
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails only if the command is gone
}

func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, failure{err.Error()})
}

// refuseStore answers with an error of the store under the status that fits it.
func refuseStore(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, storage.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, storage.ErrNotOver), errors.Is(err, storage.ErrBackup):
		status = http.StatusBadRequest
	case errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrImported):
		status = http.StatusConflict
	case errors.Is(err, storage.ErrClosed), errors.Is(err, storage.ErrOverloaded), errors.Is(err, storage.ErrUnavailable):
		status = http.StatusServiceUnavailable
	}
	refuse(w, status, err)
}
