package main

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

//go:embed demo
var demoFiles embed.FS

// category is a shelf of the demo shop.
type category struct {
	Slug, Name, Text string
	Products         []product
}

// product is something that the demo shop pretends to sell.
type product struct {
	Category, Slug, Name, Text string
	Cents                      int64
	Drawing                    string // path of an SVG picture of 120 by 80
}

// Amount is the price as the tag takes it.
func (p product) Amount() string { return fmt.Sprintf("%d.%02d", p.Cents/100, p.Cents%100) }

// Price is the price as people read it.
func (p product) Price() string { return "€ " + p.Amount() }

// Path is the address of the product's page.
func (p product) Path() string { return "/" + p.Category + "/" + p.Slug }

// article is a page of the demo shop's journal.
type article struct {
	Slug, Name string
	Text       []string
}

// Path is the address of the article's page.
func (a article) Path() string { return "/journal/" + a.Slug }

// goods is what the demo shop shows. The made-up traffic walks over the same pages.
type goods struct {
	Categories []category
	Articles   []article
}

func demoGoods() goods {
	shelf := func(slug, name, text string, products ...product) category {
		for i := range products {
			products[i].Category = slug
		}
		return category{slug, name, text, products}
	}
	item := func(slug, name string, cents int64, text, drawing string) product {
		return product{Slug: slug, Name: name, Cents: cents, Text: text, Drawing: drawing}
	}
	return goods{
		Categories: []category{
			shelf("tools", "Tools", "Carbon steel, ash and copper. Bring them back when they are blunt.",
				item("hori-hori", "Hori-hori knife", 3400, "Digs, cuts, weeds and measures. One side sharp, the other toothed, a scale in the middle.",
					"M24 62 58 34l7 8-34 28zM62 31 92 12c4 8-2 16-22 28z"),
				item("copper-trowel", "Copper trowel", 2900, "Slides through wet soil where steel sticks, and never rusts.",
					"M26 58 62 30l8 9-36 28zM66 26l16-10c8-3 16 1 14 9L80 42z"),
				item("pruning-saw", "Pruning saw", 4250, "Cuts on the pull, folds away, and takes a new blade when the old one is done.",
					"M20 54c14-12 24-16 34-14l2 12c-10-2-18 2-28 10zM54 40l46-22 4 6-48 28m8-4 1-6m7 2 1-6m7 2 1-6m7 2 1-6"),
				item("watering-can", "Watering can", 3800, "Six litres, a long neck, and a rose so fine that seedlings stay where they are.",
					"M44 34h30v30H44zM74 52l22-24m-6-4 11 9M44 40c-14 0-14 18 0 18M48 34c4-14 18-14 22 0")),
			shelf("seeds", "Seeds", "Open-pollinated and grown within a day's walk. Keep some for next year.",
				item("tomato-mix", "Tomato mix", 490, "Five old kinds, from yellow cherry to black beefsteak.",
					"M60 28c18-8 30 6 27 20-3 14-16 20-27 18-11 2-24-4-27-18-3-14 9-28 27-20zM60 28c-1-6 1-10 5-14M49 24c5 6 17 6 22 0"),
				item("wildflower-meadow", "Wildflower meadow", 750, "Forty kinds for ten square metres. Mow once a year, late.",
					"M60 72V44m0-14a7 7 0 1 1 0 14 7 7 0 1 1 0-14zM60 30c-8-8 8-8 0 0m7 7c8-8 8 8 0 0m-7 7c8 8-8 8 0 0m-7-7c-8 8-8-8 0 0M60 62c-8 0-12-4-12-8m12 12c8 0 12-4 12-8"),
				item("herb-box", "Herb box", 1200, "Basil, chives, dill, parsley, sage and thyme, with a note for each.",
					"M32 48h56v20H32zM44 48V32m0 8c-6 0-8-4-8-8 6 0 8 4 8 8zm16 8V22m0 12c6 0 9-4 9-10-6 0-9 4-9 10zm16 14V32m0 8c6 0 8-4 8-8-6 0-8 4-8 8z"),
				item("sweet-peas", "Sweet peas", 390, "Climbs anything, smells of summer, wants picking each day.",
					"M60 70V36c0-14 10-22 28-22 0 16-10 24-26 24M60 50c0-12-8-18-24-18 0 12 9 19 23 19")),
			shelf("pots", "Pots", "Thrown by hand, fired hot enough for frost.",
				item("terracotta-set", "Terracotta set", 2400, "Three sizes that stand inside each other over winter.",
					"M34 24h52v10H34zM38 38h44l-7 30H45z"),
				item("seed-tray", "Seed tray", 1600, "Zinc, with a lid of glass. Outlasts the plastic ones by decades.",
					"M26 46h68l-6 20H32zM42 46V36m18 10V30m18 16V36M42 36c-5 0-8-3-8-8 5 0 8 3 8 8zm36 0c5 0 8-3 8-8-5 0-8 3-8 8zM60 30c0-6 4-10 10-10 0 6-4 10-10 10z"),
				item("glazed-bowl", "Glazed bowl", 4800, "Wide and shallow, for succulents or a very small pond.",
					"M28 34h64c0 18-14 28-32 28S28 52 28 34zM48 62h24v6H48zM40 46c8 6 32 6 40 0"),
				item("hanging-planter", "Hanging planter", 2100, "Stoneware on a hemp rope, with a hidden saucer.",
					"M60 8 36 38m24-30 24 30M34 38h52c0 18-10 28-26 28S34 56 34 38zM60 8v30")),
		},
		Articles: []article{
			{"sowing-calendar", "A sowing calendar that forgives", []string{
				"Most calendars name a week. Seeds do not read them: they wait for warm soil. Put your hand on the bed; if you would not leave it there, neither will they.",
				"So ours has no dates but signs. When the blackthorn flowers, sow peas. When the apple does, beans. When you sit outside in the evening without a coat, everything else."}},
			{"sharpen-secateurs", "How to sharpen secateurs", []string{
				"Take them apart once a year. Clean the blade with wire wool and a drop of oil, then draw a fine stone along the bevel, always in the same direction, until a burr can be felt on the back.",
				"Lay the back flat on the stone, stroke the burr away, and put everything together with grease on the bolt. A sheet of paper should fall in two."}},
			{"compost-in-a-flat", "Compost in a flat", []string{
				"It needs a box with a lid, damp cardboard, a handful of worms and a place under the sink. Feed it with peel and coffee, never with more than it ate last week.",
				"After three months the lower half is black and smells of woods. Mix a spoon of it into each pot."}},
		},
	}
}

// product finds a product by its slug, nil if there is none.
func (g goods) product(slug string) *product {
	for i := range g.Categories {
		for j := range g.Categories[i].Products {
			if p := &g.Categories[i].Products[j]; p.Slug == slug {
				return p
			}
		}
	}
	return nil
}

// shopPage is what the shop's templates show.
type shopPage struct {
	goods
	Title    string
	Tag      template.HTML // what a site owner would paste
	Report   string        // address of the shop's report
	Category *category
	Product  *product
	Article  *article
}

// shop serves the demo shop: a few pages that carry the real tag. It keeps nothing about anybody.
type shop struct {
	goods  goods
	pages  *template.Template
	tag    template.HTML
	report string
	policy string
	mux    *http.ServeMux
}

// newShop returns the shop whose hits go to the server at base.
func newShop(base, domain string) (*shop, error) {
	pages, err := template.ParseFS(demoFiles, "demo/*.gohtml")
	if err != nil {
		return nil, fmt.Errorf("read pages of the shop: %w", err)
	}
	files, err := fs.Sub(demoFiles, "demo")
	if err != nil {
		return nil, fmt.Errorf("read pages of the shop: %w", err)
	}
	s := &shop{
		goods: demoGoods(), pages: pages, report: reportURL(base, domain), mux: http.NewServeMux(),
		// base is a loopback address and domain a constant: nothing in it needs escaping.
		tag: template.HTML(tag(base, domain)),
		policy: "default-src 'none'; script-src 'self' " + base + "; connect-src " + base +
			"; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
	s.routes(http.FileServerFS(files))
	return s, nil
}

// reportURL is the address of a site's report.
func reportURL(base, domain string) string { return base + "/sites/" + domain }

func (s *shop) routes(files http.Handler) {
	s.mux.Handle("GET /shop.css", files)
	s.mux.Handle("GET /shop.js", files)
	s.page("GET /{$}", "home", func(*http.Request, *shopPage) string { return "Tools that outlive the garden" })
	s.page("GET /journal", "journal", func(*http.Request, *shopPage) string { return "Journal" })
	s.page("GET /journal/{article}", "journal", func(r *http.Request, p *shopPage) string {
		for i := range p.Articles {
			if a := &p.Articles[i]; a.Slug == r.PathValue("article") {
				p.Article = a
				return a.Name
			}
		}
		return ""
	})
	for _, name := range []string{"cart", "checkout", "thanks"} {
		s.page("GET /"+name, name, func(r *http.Request, p *shopPage) string {
			p.Product = p.product(r.FormValue("item"))
			return strings.ToUpper(name[:1]) + name[1:]
		})
	}
	for _, c := range s.goods.Categories {
		s.page("GET /"+c.Slug, "category", func(_ *http.Request, p *shopPage) string {
			p.Category = &c
			return c.Name
		})
		s.page("GET /"+c.Slug+"/{product}", "product", func(r *http.Request, p *shopPage) string {
			p.Category, p.Product = &c, p.product(r.PathValue("product"))
			if p.Product == nil || p.Product.Category != c.Slug {
				return ""
			}
			return p.Product.Name
		})
	}
}

// page adds a route. fill completes the page and returns its title, or nothing if there is no such page.
func (s *shop) page(pattern, name string, fill func(*http.Request, *shopPage) string) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		p := &shopPage{goods: s.goods, Tag: s.tag, Report: s.report}
		if p.Title = fill(r, p); p.Title == "" {
			http.NotFound(w, r)
			return
		}
		var out bytes.Buffer
		if err := s.pages.ExecuteTemplate(&out, name+".gohtml", p); err != nil {
			http.Error(w, "this page of the shop is broken", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = out.WriteTo(w) // fails only if the browser is gone
	})
}

// ServeHTTP implements http.Handler.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", s.policy)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	s.mux.ServeHTTP(w, r)
}

// newShopServer puts the shop behind net/http: it is for the one person in front of the machine.
func newShopServer(s *shop) *http.Server {
	return &http.Server{Handler: s, ErrorLog: silentLog(), ReadHeaderTimeout: 10 * time.Second}
}
