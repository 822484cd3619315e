package dashboard

import (
	"errors"
	"fmt"
	"html"
	"net/http"

	"dachs/storage"
)

// sitesPage is the view of sites.gohtml.
type sitesPage struct {
	page
	Sites        []siteLine
	Domain, Zone string
	Zones        []string
	Problem      string
}

// siteLine is one site in the list.
type siteLine struct {
	Domain, Link, TagLink, Zone string
	Visitors, Views             number // today
}

func (s *Server) showSites(w http.ResponseWriter, r *http.Request) {
	s.renderSites(w, r, http.StatusOK, sitesPage{Zone: "UTC"})
}

func (s *Server) renderSites(w http.ResponseWriter, r *http.Request, status int, view sitesPage) {
	lines, err := s.siteLines(r)
	if err != nil {
		s.fail(w, r, "query sites", err)
		return
	}
	view.page, view.Sites, view.Zones = s.page(r, "Sites"), lines, s.zones
	s.render(w, r, status, "sites", view)
}

// siteLines asks for today's numbers of every site.
func (s *Server) siteLines(r *http.Request) ([]siteLine, error) {
	sites := s.store.Sites()
	lines := make([]siteLine, len(sites))
	for i, site := range sites {
		today := storage.DayOf(s.now().In(site.Location()))
		res, err := s.store.Query(r.Context(), storage.Query{
			Site: site.ID, From: today, To: today, Metrics: []storage.Metric{storage.Visitors, storage.PageViews},
		})
		if err != nil {
			return nil, err
		}
		values := res.Rows[0].Values // one question about everything has one answer
		lines[i] = siteLine{
			Domain: site.Domain, Link: sitePath(site.Domain), TagLink: sitePath(site.Domain) + "/tag",
			Zone: site.TimeZone, Visitors: count(values[0]), Views: count(values[1]),
		}
	}
	return lines, nil
}

func (s *Server) addSite(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.badForm(w, r)
		return
	}
	view := sitesPage{Domain: r.PostFormValue("domain"), Zone: r.PostFormValue("timezone")}
	domain, zone, err := s.cleanSite(view.Domain, view.Zone)
	if err != nil {
		view.Problem = sentence(err)
		s.renderSites(w, r, http.StatusUnprocessableEntity, view)
		return
	}
	switch _, err := s.store.AddSite(domain, zone); {
	case errors.Is(err, storage.ErrExists):
		view.Problem = domain + " is counted here already."
		s.renderSites(w, r, http.StatusConflict, view)
	case err != nil:
		s.fail(w, r, "add site", err)
	default:
		http.Redirect(w, r, sitePath(domain)+"/tag", http.StatusSeeOther)
	}
}

// cleanSite checks what somebody typed for a site, before anything is stored.
func (s *Server) cleanSite(domain, zone string) (cleanDomain, cleanZone string, err error) {
	cleanDomain, err = storage.CleanDomain(domain)
	if err != nil {
		return "", "", err
	}
	cleanZone, err = storage.CleanZone(zone)
	return cleanDomain, cleanZone, err
}

// tagPage is the view of tag.gohtml.
type tagPage struct {
	page
	Domain, Link, Zone string
	Tag                string
	Counted            bool // the site has had hits
}

func (s *Server) showTag(w http.ResponseWriter, r *http.Request) {
	site, ok := s.store.Site(r.PathValue("domain"))
	if !ok {
		s.notFound(w, r)
		return
	}
	_, _, counted, err := s.store.Days(site.ID)
	if err != nil {
		s.fail(w, r, "read days", err)
		return
	}
	s.render(w, r, http.StatusOK, "tag", tagPage{
		page: s.page(r, "Tag for "+site.Domain), Domain: site.Domain, Link: sitePath(site.Domain), Zone: site.TimeZone,
		Tag: s.tag(r, site), Counted: counted,
	})
}

// tag is what the owner pastes into each page of a site.
func (s *Server) tag(r *http.Request, site storage.Site) string {
	return fmt.Sprintf(`<script defer src="%s/d.js" data-domain="%s"></script>`,
		html.EscapeString(s.publicURL(r)), html.EscapeString(site.Domain))
}
