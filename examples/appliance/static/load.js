// Loads the ES module that the page names. Chromium runs no <script type="module"> in XHTML (crbug.com/717643); this it runs.
import(document.currentScript.dataset.module);
