package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"dachs/storage"
)

// maxQueryBytes is the longest body that a query may have. Real ones have a few hundred bytes.
const maxQueryBytes = 64 << 10

// statsAPI answers POST /api/v2/query in the form of Plausible's Stats API v2. What differs from it, and
// why, is written down at QueryHandler.
type statsAPI struct {
	store *storage.DB
	now   func() time.Time
	log   *slog.Logger
	// admit decides whether a request may ask at all, before anything of it is read, and says which sites
	// it may ask for. Its errors and those of the function are apiErrors where the caller is at fault.
	admit func(r *http.Request) (siteFinder, error)
	// trusted callers run the server: they are told why it failed.
	trusted bool
}

// siteFinder finds the site of a site_id.
type siteFinder func(domain string) (storage.Site, error)

// QueryHandler answers queries of any site without asking for a token. It is for the operator's own
// socket, never for the network.
//
// Requests and answers are those of Plausible's Stats API v2 (https://plausible.io/docs/stats-api), with these
// differences, each because of what the counts hold:
//
//   - at most two dimensions besides time; all filters but has_done, has_not_done, segments and goals;
//   - visit:country is an ISO 3166-1 code, regions and cities are as the location database names them;
//   - date-times in date_range must be whole days of the site's time zone, and date_range is echoed as days;
//   - a rate or mean without anything to divide by is null;
//   - an upper bound is marked in meta.metric_warnings (code "upper_bound"), and its row has lower_bounds beside metrics;
//   - meta.notes says where visitors are a sum of daily ones, or distinct by the hour, and where a metric under
//     event:page is that of the visits that began there;
//   - imported logs are always included;
//   - include.totals is ours: meta.totals has the metrics without dimensions, from the same pass over the counts.
//
// Errors are JSON objects with one key, error: 400 for a request that cannot be answered, 401 without a token for
// the site (404 here, where no token is asked for), 405 for other methods than POST, 413 for more than 64 KiB.
func QueryHandler(store *storage.DB, now func() time.Time) http.Handler {
	anySite := func(domain string) (storage.Site, error) {
		if site, ok := findSite(store, domain); ok {
			return site, nil
		}
		return storage.Site{}, &apiError{http.StatusNotFound, fmt.Sprintf("site_id: no site %q here; dachs site add makes one", domain)}
	}
	return &statsAPI{
		store: store, now: now, log: slog.New(slog.DiscardHandler), trusted: true,
		admit: func(*http.Request) (siteFinder, error) { return anySite, nil },
	}
}

// apiError is an error that the caller is told, with its status.
type apiError struct {
	status int
	text   string
}

func (e *apiError) Error() string { return e.text }

func (a *statsAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		a.fail(w, r, &apiError{http.StatusMethodNotAllowed, "method " + r.Method + ": not allowed; queries are sent with POST"})
		return
	}
	answer, err := a.query(w, r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.write(w, r, http.StatusOK, answer)
}

func (a *statsAPI) query(w http.ResponseWriter, r *http.Request) (apiAnswer, error) {
	find, err := a.admit(r)
	if err != nil {
		return apiAnswer{}, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQueryBytes))
	if err != nil {
		if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
			return apiAnswer{}, &apiError{http.StatusRequestEntityTooLarge, fmt.Sprintf("request body: longer than %d bytes", maxQueryBytes)}
		}
		return apiAnswer{}, &apiError{http.StatusBadRequest, "request body: cannot be read to its end"}
	}
	q, err := parseQuery(body)
	if err != nil {
		return apiAnswer{}, &apiError{http.StatusBadRequest, err.Error()}
	}
	site, err := find(q.siteID)
	if err != nil {
		return apiAnswer{}, err
	}
	var first storage.Day
	now := a.now().In(site.Location())
	if q.dates.name == "all" {
		first, err = a.firstDay(site, now)
		if err != nil {
			return apiAnswer{}, err
		}
	}
	period, err := q.resolve(site, now, first)
	if err != nil {
		return apiAnswer{}, &apiError{http.StatusBadRequest, err.Error()}
	}
	result, err := a.store.Query(r.Context(), q.query)
	if err != nil {
		return apiAnswer{}, err
	}
	return q.answer(period, result), nil
}

// firstDay is where "all" begins: today if there is nothing yet.
func (a *statsAPI) firstDay(site storage.Site, now time.Time) (storage.Day, error) {
	first, _, ok, err := a.store.Days(site.ID)
	if err != nil {
		return 0, err
	}
	if !ok {
		return storage.DayOf(now), nil
	}
	return first, nil
}

// fail answers with an error. Only what is the caller's business is told.
func (a *statsAPI) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusInternalServerError, "the query failed; see the server's log"
	var told *apiError
	switch {
	case errors.As(err, &told):
		status, text = told.status, told.text
	case errors.Is(err, storage.ErrBadQuery), errors.Is(err, storage.ErrNotTogether),
		errors.Is(err, storage.ErrTooManyGroups), errors.Is(err, storage.ErrNotKept):
		status, text = http.StatusBadRequest, err.Error()
	case errors.Is(err, storage.ErrClosed), r.Context().Err() != nil:
		status, text = http.StatusServiceUnavailable, "the server is stopping; try again later"
	default:
		a.log.Error("stats query failed", "error", err)
		if a.trusted {
			text = err.Error()
		}
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	a.write(w, r, status, map[string]string{"error": text})
}

func (a *statsAPI) write(w http.ResponseWriter, r *http.Request, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store") // numbers of a private site, and old a moment later
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // paths with & stay readable; nosniff keeps browsers from reading HTML into it
	if err := e.Encode(v); err != nil {
		a.log.Debug("answer to a stats query was not taken", "error", err)
	}
}

// findSite resolves a site_id as people write domains.
func findSite(store *storage.DB, domain string) (storage.Site, bool) {
	clean, err := storage.CleanDomain(domain)
	if err != nil {
		return storage.Site{}, false
	}
	return store.Site(clean)
}
