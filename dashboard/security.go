package dashboard

import (
	"net/http"
	"runtime/debug"
)

// contentPolicy allows what the pages are made of, files of this server, and nothing else. There is no
// unsafe-* in it and there must never be: paths and referrers on these pages are written by strangers.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxForm bounds the body of a POST in bytes. The largest form, set-up, needs less than one kilobyte.
const maxForm = 16 << 10

// secureHeaders sets what every answer carries, errors included.
func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		// same-origin and not no-referrer: with the latter browsers send "Origin: null" with our own forms.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "private, no-store")
		next.ServeHTTP(w, r)
	})
}

// limitBody keeps a form from filling the memory.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		}
		next.ServeHTTP(w, r)
	})
}

// recoverPanics answers 500 instead of ending the process, which would also end the counting.
func (s *Server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				// Only the type of the value: its text may hold parts of the request.
				s.logger.Error("dashboard panicked", "route", r.Pattern, "type", typeName(v), "stack", string(debug.Stack()))
				s.failed(w, r)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (s *Server) refuseCrossOrigin(w http.ResponseWriter, r *http.Request) {
	s.message(w, r, http.StatusForbidden, "This form was sent from another site",
		"For your safety it was not accepted. Open the dashboard itself and try again. If you did, and a proxy stands "+
			"before this server, start Dachs with --base-url set to the address that you see in the browser.")
}
